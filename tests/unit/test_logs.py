"""Logs: with LOG_FORMAT=json every line on standard error is one JSON object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest


def _lines_of(code: str, *, log_format: str = "json") -> list[str]:
    """The standard error of a process that sets up its logs and runs this code."""
    program = f"from etl.runtime.logs import set_up_logs\nset_up_logs({log_format!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stderr.splitlines()


def _events_of(code: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _lines_of(code)]


def test_our_own_events_are_json():
    (event,) = _events_of("import structlog; structlog.get_logger('etl').info('a run', run=3)")
    assert event["event"] == "a run"
    assert event["run"] == 3
    assert event["level"] == "info"
    assert event["timestamp"].endswith("Z")


def test_logs_of_libraries_are_json_and_begin_at_warnings():
    code = "import logging; log = logging.getLogger('waitress.queue');"
    (event,) = _events_of(f"{code} log.info('quiet'); log.warning('Task queue depth is %d', 4)")
    assert event["event"] == "Task queue depth is 4"
    assert event["level"] == "warning"


def test_a_traceback_that_a_library_logs_is_part_of_its_line():
    code = "import logging\ntry: 1 / 0\nexcept ArithmeticError: logging.exception('it failed')"
    (event,) = _events_of(code)
    assert event["event"] == "it failed"
    assert "ZeroDivisionError" in event["exception"]


def test_warnings_are_json():
    (event,) = _events_of("import warnings; warnings.warn('old', DeprecationWarning, 1)")
    assert "DeprecationWarning: old" in event["event"]


@pytest.mark.parametrize(
    "code",
    [
        "raise ValueError('a bug')",
        "import threading; t = threading.Thread(target=int, args=('a bug',)); t.start(); t.join()",
    ],
    ids=["main thread", "other thread"],
)
def test_an_uncaught_error_is_one_line_with_its_traceback(code: str):
    (event,) = _events_of(code)
    assert event["event"] == "uncaught error"
    assert event["level"] == "critical"
    assert "a bug" in event["exception"]


def test_logs_set_up_twice_write_each_line_once():
    lines = _lines_of("set_up_logs('json')\nimport logging; logging.warning('once')")
    assert len(lines) == 1


def test_logs_of_libraries_are_readable_on_a_console():
    (line,) = _lines_of("import logging; logging.warning('take care')", log_format="console")
    assert "warning" in line
    assert "take care" in line


def _command(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "etl", *arguments],
        env={"PATH": os.environ["PATH"], "LOG_FORMAT": "json", **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_invalid_settings_are_logged_as_json():
    done = _command("serve", ETL_INTERVAL="often")
    event = json.loads(done.stderr)
    assert done.returncode == 2
    assert "ETL_INTERVAL='often'" in event["event"]
    assert event["hint"]


def test_wrong_usage_is_logged_as_json():
    done = _command("sevre")
    assert done.returncode == 2
    assert "sevre" in json.loads(done.stderr)["event"]
