"""The loop of long-running services, its stop and its back-off; and processes that restart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from etl.local.processes import RestartingProcess
from etl.runtime.backoff import Backoff
from etl.runtime.service import ServiceLoop, StopEvent, in_thread, stop_on_signals
from tests.conftest import wait_until


class Failing(ServiceLoop):
    """Fails with each of the errors in turn, then serves until stop()."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)
        self.handled: list[Exception] = []

    def serve(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.stopping.wait(60)

    def handle_failure(self, error: Exception) -> float:
        if isinstance(error, LookupError):
            raise error
        self.handled.append(error)
        return 0


def test_service_serves_again_after_each_failure_until_stopped():
    errors = [ValueError("first"), OSError("second")]
    service = Failing(*errors)
    with in_thread(service, "failing", 10):
        wait_until(lambda: service.handled == errors)
    assert service.stopping.is_set()


def test_failure_that_is_raised_again_ends_the_loop():
    with pytest.raises(LookupError):
        Failing(LookupError()).run_forever()


def test_stop_event_ends_waits_that_began_before_and_after():
    stopping = StopEvent()
    assert not stopping.wait(0)
    threading.Timer(0.1, stopping.set).start()
    started = time.monotonic()
    assert stopping.wait(60)
    assert stopping.wait(60)
    assert time.monotonic() - started < 30


def test_stop_event_wait_ends_when_a_source_has_data():
    readable, writable = os.pipe()
    os.write(writable, b".")
    assert not StopEvent().wait(60, readable)
    os.close(readable)
    os.close(writable)


def test_signals_stop_a_wait_and_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    stopping = StopEvent()
    with stop_on_signals(stopping.set):
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        assert stopping.wait(60)
    assert signal.getsignal(signal.SIGTERM) is before


def test_backoff_doubles_up_to_its_maximum_until_it_is_reset():
    backoff = Backoff(1, 5)
    assert [backoff.next() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next() == 1


def test_scheduled_attempt_is_due_once():
    backoff = Backoff(0, 1)
    assert not backoff.is_due()
    assert backoff.seconds_left() == float("inf")
    backoff.arm()
    assert backoff.is_due()
    assert not backoff.is_due()
    assert not backoff.is_waiting()


def ending(code: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"])


def await_exit(restarting: RestartingProcess) -> int:
    assert restarting.process is not None
    restarting.process.wait(30)
    code = restarting.take_exit_code()
    assert code is not None
    assert restarting.take_exit_code() is None
    return code


def test_process_that_keeps_ending_is_restarted_with_backoff():
    backoff = Backoff(0.1, 10)
    restarting = RestartingProcess(lambda: ending(7), backoff, 60)
    assert not restarting.restart_if_due()
    restarting.start()
    for exits, delay in enumerate((0.1, 0.2, 0.4), start=1):
        assert await_exit(restarting) == 7
        assert restarting.exits == exits
        ended = time.monotonic()
        wait_until(restarting.restart_if_due)
        assert time.monotonic() - ended > delay * 0.9
        assert not restarting.restart_if_due()
    await_exit(restarting)


def test_steady_process_is_restarted_after_the_first_delay():
    backoff = Backoff(0.1, 10)
    restarting = RestartingProcess(lambda: ending(0), backoff, 0)
    restarting.start()
    for _ in range(3):
        await_exit(restarting)
        assert restarting.exits == 1
        assert backoff.seconds_left() <= 0.1
        wait_until(restarting.restart_if_due)
    await_exit(restarting)
