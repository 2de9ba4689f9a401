"""Processes killed with SIGKILL at random and started again, while clients use what is left."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

ANSWER_SECONDS = 60.0
ATTEMPT_SECONDS = 20.0
PAUSE_SECONDS = 0.02


class Patience:
    """Is over after so many seconds in which this process ran.

    If it is stopped for minutes, as with SIGSTOP, only `step_seconds` of them count.
    """

    def __init__(self, seconds: float, step_seconds: float = 1.0) -> None:
        self._left = seconds
        self._step_seconds = step_seconds
        self._last = time.monotonic()

    def is_over(self) -> bool:
        now = time.monotonic()
        self._left -= min(now - self._last, self._step_seconds)
        self._last = now
        return self._left <= 0


class Instance:
    """One process of a kind; `start` starts it again on the same port.

    `is_ready` is whether it does its work already.
    """

    def __init__(
        self,
        kind: str,
        port: int,
        start: Callable[[], subprocess.Popen[bytes]],
        is_ready: Callable[[], bool],
    ) -> None:
        self.kind = kind
        self.port = port
        self._start = start
        self.is_ready = is_ready
        self.process = start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        self.process = self._start()


@dataclass
class Killer:
    """Kills one instance at a time, after random pauses, and starts it again a moment later.

    It spares the only one of its kind that is ready. On a busy machine, processes may start more
    slowly than they are killed, and clients would have no answer for as long.
    """

    instances: Sequence[Instance]
    random: random.Random
    mean_seconds: float  # between two kills
    kills: Counter[str] = field(default_factory=Counter)
    spared: Counter[str] = field(default_factory=Counter)

    def work(self, ending: threading.Event) -> None:
        while not ending.wait(self.random.expovariate(1 / self.mean_seconds)):
            victim = self.random.choice(self.instances)
            assert victim.process.poll() is None, f"{victim.kind} ended by itself"
            if not self._is_replaceable(victim):
                self.spared[victim.kind] += 1
                continue
            victim.kill()
            self.kills[victim.kind] += 1
            ending.wait(self.random.uniform(0, 1))
            victim.start()

    def _is_replaceable(self, victim: Instance) -> bool:
        others = (one for one in self.instances if one.kind == victim.kind and one is not victim)
        return any(one.is_ready() for one in others)


@dataclass(frozen=True)
class Answer:
    """The response of an API."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON
        return json.loads(self.body)


class NoAnswer(Exception):
    """No API answered in time."""


@dataclass
class Client:
    """Sends each request to APIs chosen at random, until one of them answers it.

    A connection that ends, or a 503, is no answer. Any other status from 500 up is a fault. `late`
    are the times of attempts that ended without a response after `attempt_seconds`.
    """

    addresses: Sequence[tuple[str, int]]
    random: random.Random
    counts: Counter[str]
    answer_seconds: float = ANSWER_SECONDS
    attempt_seconds: float = ATTEMPT_SECONDS
    late: list[float] = field(default_factory=list)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        patience = Patience(self.answer_seconds, self.attempt_seconds)
        while not patience.is_over():
            found = self._try(method, path, body, headers or {})
            if found is not None:
                self.counts[f"{method} {path.partition('?')[0].split('/')[1]}"] += 1
                return found
            self.counts["requests sent again"] += 1
            time.sleep(PAUSE_SECONDS)
        raise NoAnswer(f"{method} {path} had no answer within {self.answer_seconds:g} s")

    def _try(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer | None:
        host, port = self.random.choice(self.addresses)
        connection = http.client.HTTPConnection(host, port, timeout=self.attempt_seconds)
        began = time.monotonic()
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            answer = Answer(response.status, response.read())
        except TimeoutError:
            self.late.append(began)
            return None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        if answer.status == http.client.SERVICE_UNAVAILABLE:
            return None
        assert answer.status < 500, f"{method} {path}: {answer.status} {answer.body!r}"
        return answer


@contextmanager
def working(*workers: Callable[[threading.Event], object]) -> Iterator[list[BaseException]]:
    """Run the workers in threads while the block runs; the list gets their errors."""
    ending, errors = threading.Event(), list[BaseException]()

    def work(worker: Callable[[threading.Event], object]) -> None:
        try:
            worker(ending)
        except BaseException as error:  # noqa: BLE001 - raised by the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(one,)) for one in workers]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def record(bucket: str, key: str, sequencer: int, name: str = "s3:ObjectCreated:Put") -> bytes:
    """A notification of one event as stores post it."""
    thing = {
        "bucket": {"name": bucket},
        "object": {"key": quote(key), "sequencer": f"{sequencer:016X}"},
    }
    return json.dumps({"Records": [{"eventName": name, "s3": thing}]}).encode()
