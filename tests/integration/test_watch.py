"""`watch`: lines without a terminal, a live view in one; Ctrl-C ends both with exit code 0."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from etl.cli import watch
from etl.cli.watch import JsonView, Looks, PlainView
from etl.model.errors import DatabaseUnavailable
from etl.model.overview import overview
from etl.model.snapshot import ActiveRun, DatasetFacts, Outage, Part, Snapshot, Step
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.conftest import TestBucket, wait_until
from tests.processes import ROOT, environment
from tests.user_rows import NOW

HEALTHY = Snapshot(
    now=NOW,
    bucket="src-data",
    datasets=(DatasetFacts("users", rows=2, objects=2, changed_at=NOW),),
    last_commit_at=NOW,
    due_at=NOW + timedelta(minutes=25),
)
RUN = ActiveRun(7, Trigger.REQUEST, NOW, Step("read", 318, 521))


def shown(
    view: PlainView | JsonView, *facts: Snapshot, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    for one in facts:
        view.show(overview(one))
    return capsys.readouterr().out.splitlines()


def test_a_line_is_printed_only_when_something_changes(capsys: pytest.CaptureFixture[str]):
    running = replace(HEALTHY, running=RUN)
    further = replace(running, running=replace(RUN, step=Step("read", 400, 521)))
    later = replace(HEALTHY, now=NOW + timedelta(seconds=9))
    lines = shown(
        PlainView(), HEALTHY, HEALTHY, running, running, further, later, later, capsys=capsys
    )
    assert [line.split("UTC  ")[1].split(" since")[0] for line in lines] == [
        "All in sync",
        "Full run in progress: reading 318 of 521 changed objects.",
        "Full run in progress: reading 400 of 521 changed objects.",
        "All in sync",
    ]


def test_the_duration_of_an_outage_is_no_change(capsys: pytest.CaptureFixture[str]):
    outage = replace(HEALTHY, outage=Outage(Part.OBJECT_STORE, "Refused.", since=NOW))
    later = replace(outage, now=NOW + timedelta(hours=1))
    assert len(shown(PlainView(), outage, later, capsys=capsys)) == 1


def test_json_lines_are_objects_of_their_own(capsys: pytest.CaptureFixture[str]):
    running = replace(HEALTHY, running=RUN)
    found = [
        json.loads(line) for line in shown(JsonView(), HEALTHY, HEALTHY, running, capsys=capsys)
    ]
    assert [one["state"] for one in found] == ["in-sync", "running"]
    assert found[1]["running"]["step"] == {"name": "read", "done": 318, "total": 521}


def test_the_screen_shows_the_active_run_by_step():
    console = Console(width=100, color_system=None)
    with console.capture() as captured:
        console.print(watch.screen(overview(replace(HEALTHY, running=RUN))))
    lines = [line.split() for line in captured.get().splitlines()]
    assert next(line for line in lines if line[:1] == ["list"])[:2] == ["list", "done"]
    reading = next(line for line in lines if line[:1] == ["read"])
    assert (reading[1], reading[-3:]) == ("running", ["318", "of", "521"])
    assert next(line for line in lines if line[:1] == ["merge"])[1] == "waiting"


def test_an_outage_of_the_database_is_shown_until_it_ends(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, manager: DataManager
):
    manager.run(Trigger.CLI)
    looks = Looks(settings)
    assert looks.look().state == "empty"
    with monkeypatch.context() as patched:

        def refuse(*_: object, **__: object) -> None:
            raise DatabaseUnavailable("Connection refused.")

        patched.setattr(watch, "read", refuse)
        assert looks.look().state == "down"
    assert looks.look().state == "empty"
    looks.close()


@contextmanager
def watching(
    settings: Settings, folder: Path, *words: str, terminal: bool = False
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """`watch` as a process, and a function that returns what it has printed so far."""
    output = folder / "output"
    sink = pty.openpty() if terminal else None
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "etl", "watch", *words],
            cwd=ROOT,
            env=environment(settings) | {"COLUMNS": "100", "LINES": "40", "TERM": "xterm"},
            stdout=file if sink is None else sink[1],
            stderr=subprocess.STDOUT,
        )
    seen = bytearray()

    def text_so_far() -> str:
        if sink is None:
            return output.read_text("utf-8")
        os.set_blocking(sink[0], False)
        try:
            while chunk := os.read(sink[0], 65_536):
                seen.extend(chunk)
        except BlockingIOError:
            pass
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode("utf-8", "replace"))

    try:
        yield process, text_so_far
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        if sink is not None:
            os.close(sink[0])
            os.close(sink[1])


@pytest.mark.parametrize("output_is", ["a file", "a terminal"])
def test_a_run_is_seen_and_ctrl_c_ends_with_success(
    output_is: str,
    bucket: TestBucket,
    settings: Settings,
    manager: DataManager,
    tmp_path: Path,
):
    manager.run(Trigger.CLI)
    bucket.user("1.csv")
    is_terminal = output_is == "a terminal"
    with watching(settings, tmp_path, terminal=is_terminal) as (process, output):
        wait_until(lambda: f"{settings.source_bucket} is empty." in output())
        manager.run(Trigger.CLI)
        wait_until(lambda: "All in sync since" in output())
        wait_until(lambda: "Run 2 (cli): users 1 loaded." in output())
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, output()
        assert "Traceback" not in output()
