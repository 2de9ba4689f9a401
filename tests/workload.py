"""Clients that write, notify, request runs and read at the same time, and check every answer."""

from __future__ import annotations

import io
import random
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import urllib3
from minio.error import MinioException
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from etl.settings import Settings
from tests.chaos import (
    ANSWER_SECONDS,
    ATTEMPT_SECONDS,
    PAUSE_SECONDS,
    Answer,
    Client,
    Patience,
    record,
)
from tests.conftest import minio_client
from tests.written import Marks, Reader, Written

DONE = ("succeeded", "failed")
COVERED_SECONDS = 60.0
# After an error, a request that is still in the kernel must not arrive: the writer sends it again,
# and then a newer version.
_RESET_ON_CLOSE = (SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))

Worker = Callable[[threading.Event], None]


@dataclass
class Workload:
    """What the clients of one installation share. `faults` are wrong answers."""

    settings: Settings
    token: str
    addresses: Sequence[tuple[str, int]]
    seed: int
    users: Written = field(default_factory=Written)
    documents: Written = field(default_factory=Written)
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    events: set[tuple[str, int]] = field(default_factory=set)
    requests: set[int] = field(default_factory=set)
    failures: set[str] = field(default_factory=lambda: {"Interrupted"})  # that runs may have
    pause_seconds: float = 0.05
    covered_seconds: float = COVERED_SECONDS
    answer_seconds: float = ANSWER_SECONDS
    attempt_seconds: float = ATTEMPT_SECONDS
    share_through_api: float = 0.3  # of the changes of objects
    late: list[float] = field(default_factory=list)  # attempts of all clients, see Client
    _covered: Marks = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def workers(self, writers: int = 2, readers: int = 2) -> list[Worker]:
        """All clients, each with a name of its own."""
        return [
            *(self._named(self.write_users, f"writer{number}") for number in range(writers)),
            *(self._named(self.query, f"reader{number}") for number in range(readers)),
            self._named(self.write_documents, "author"),
            self._named(self.request_runs, "requester"),
        ]

    def _named(self, work: Callable[[str, threading.Event], None], name: str) -> Worker:
        return lambda ending: work(name, ending)

    def client(self, name: str) -> Client:
        return Client(
            self.addresses,
            random.Random(f"{self.seed} {name}"),  # noqa: S311
            self.counts,
            self.answer_seconds,
            self.attempt_seconds,
            self.late,
        )

    # -- writers

    def write_users(self, name: str, ending: threading.Event) -> None:
        """Put, replace and remove users of this writer's own, with an event for each change."""
        client = self.client(name)
        pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=2, read=5),
            retries=False,
            socket_options=[_RESET_ON_CLOSE],
        )
        store = minio_client(self.settings, pool)
        while not ending.wait(client.random.expovariate(1 / self.pause_seconds)):
            self._change_user(client, store, f"{name}-{client.random.randrange(12)}")

    def _change_user(self, client: Client, store: Any, user: str) -> None:  # noqa: ANN401
        number = self.users.next_number()
        exists = user in self.users.versions and self.users.content(user) is not None
        is_removal = exists and client.random.random() < 0.3
        content = None if is_removal else (f"v{number}", "Lee", number)
        self.users.begin(user, number, content)
        key = f"{user}.csv"
        if client.random.random() < self.share_through_api:
            self._change_through_api(client, key, content)
        else:
            self._change_in_store(store, key, content)
        self.users.acknowledge(user, number)
        created = "s3:ObjectRemoved:Delete" if is_removal else "s3:ObjectCreated:Put"
        body = record(self.settings.source_bucket, key, number, created)
        self._expect(client.ask("POST", "/minio-event", body, self._webhook), 200)
        with self._lock:
            self.events.add((key, number))

    @property
    def _webhook(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}

    def _change_through_api(self, client: Client, key: str, content: object) -> None:
        path = f"/objects/{self.settings.source_bucket}/{key}"
        if content is None:
            self._expect(client.ask("DELETE", path), 204, 404)
        else:
            self._expect(client.ask("PUT", path, _csv(content)), 200, 201, 204)

    def _change_in_store(self, store: Any, key: str, content: object) -> None:  # noqa: ANN401
        bucket = self.settings.source_bucket

        def is_done() -> bool:
            try:
                if content is None:
                    store.remove_object(bucket, key)
                else:
                    data = _csv(content)
                    store.put_object(bucket, key, io.BytesIO(data), len(data))
            except (MinioException, urllib3.exceptions.HTTPError, OSError):
                self.counts["requests sent again"] += 1
                return False
            return True

        patience = Patience(self.answer_seconds, self.attempt_seconds)
        while not is_done():
            assert not patience.is_over(), f"the store did not take {key}"
            time.sleep(PAUSE_SECONDS)
        self.counts["objects changed in the store"] += 1

    def write_documents(self, name: str, ending: threading.Event) -> None:
        """Save versions of documents, and read them at once."""
        client, reader = self.client(name), Reader(self.documents, name)
        while not ending.wait(client.random.expovariate(1 / self.pause_seconds)):
            document = f"d{client.random.randrange(6)}"
            number = self.documents.next_number()
            content = b'{"version": %d}' % number
            self.documents.begin(document, number, content)
            headers = {"Content-Type": "application/json"}
            found = client.ask("POST", f"/documents?name={document}", content, headers)
            self._expect(found, 201)
            self.documents.acknowledge(document, number)
            self._read_document(client, reader, document)

    # -- readers

    def query(self, name: str, ending: threading.Event) -> None:
        """Read all users, one user, and documents."""
        client, users = self.client(name), Reader(self.users, name)
        documents = Reader(self.documents, name)
        while not ending.wait(client.random.expovariate(1 / self.pause_seconds)):
            self._read_users(client, users)
            if written := self.users.things():
                self._read_user(client, users, client.random.choice(written))
            if saved := self.documents.things():
                self._read_document(client, documents, client.random.choice(saved))

    def _read_users(self, client: Client, reader: Reader) -> None:
        covered = self.covered()
        found = client.ask("GET", "/data")
        self._expect(found, 200)
        self.faults += reader.check({one: _row(row) for one, row in found.json.items()}, covered)

    def _read_user(self, client: Client, reader: Reader, user: str) -> None:
        covered = self.covered().get(user, 0)
        found = client.ask("GET", f"/data/{user}")
        self._expect(found, 200, 404)
        row = _row(found.json) if found.status == 200 else None
        self._note(reader.check_one(user, row, covered))

    def _read_document(self, client: Client, reader: Reader, document: str) -> None:
        covered = self.documents.marks().get(document, 0)
        found = client.ask("GET", f"/documents/{document}")
        self._expect(found, 200, 404)
        content = found.body if found.status == 200 else None
        self._note(reader.check_one(document, content, covered))

    # -- requests for runs

    def request_runs(self, name: str, ending: threading.Event) -> None:
        """Request runs, each after the one before it has ended, and read what it covers."""
        client, reader = self.client(name), Reader(self.users, name)
        while not ending.wait(client.random.expovariate(1 / self.pause_seconds)):
            self.request_run(client, reader)

    def request_run(self, client: Client, reader: Reader) -> None:
        """Request a run, wait for it, and read the users, which it must cover."""
        marks = self.users.marks()
        wait = client.random.choice(["", "?wait=5"])
        found = client.ask("POST", f"/data{wait}")
        self._expect(found, 200, 202)
        with self._lock:
            self.requests.add(found.json["id"])
        self._await_run(client, found.json["id"])
        self.cover(marks)
        self._read_users(client, reader)

    def _await_run(self, client: Client, run_id: int) -> None:
        """Return when the run has succeeded or, if its process died, the one after it."""
        patience = Patience(self.covered_seconds)
        answered = False
        while not answered:
            found = client.ask("GET", f"/runs/{run_id}").json
            if found["state"] in DONE:
                code = (found["error"] or {}).get("code", "Interrupted")
                assert found["state"] == "succeeded" or code in self.failures, found
                answered = found["state"] == "succeeded" or self._has_successor(client, run_id)
            assert not patience.is_over(), f"nothing answered this request: {found}"
            time.sleep(0.05)

    def _has_successor(self, client: Client, run_id: int) -> bool:
        """Whether a full run that was requested after this one has succeeded."""
        found = client.ask("GET", "/runs?state=succeeded&limit=50").json["runs"]
        return any(one["id"] > run_id and one["trigger"] != "event" for one in found)

    def covered(self) -> Marks:
        with self._lock:
            return dict(self._covered)

    def cover(self, marks: Marks) -> None:
        """Note that a run committed at least these versions."""
        with self._lock:
            self._covered = {
                thing: max(number, self._covered.get(thing, 0)) for thing, number in marks.items()
            } | {thing: number for thing, number in self._covered.items() if thing not in marks}

    def _note(self, fault: str | None) -> None:
        if fault is not None:
            self.faults.append(fault)

    @staticmethod
    def _expect(answer: Answer, *statuses: int) -> None:
        assert answer.status in statuses, (answer.status, answer.body)


def _csv(content: Any) -> bytes:  # noqa: ANN401 - a version's content
    first, last, birthts = content
    return f"first_name,last_name,birthts\n{first},{last},{birthts}\n".encode()


def _row(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["first_name"], row["last_name"], row["birthts"]


# -- the laws of runs and events


_ACTIVE = "SELECT count(*) FROM run WHERE state = 'running'"


@dataclass
class RunWatch:
    """Counts the active runs all the time, unless the database is out of reach."""

    engine: Engine
    most: int = 0
    samples: int = 0

    def work(self, ending: threading.Event) -> None:
        while not ending.is_set():
            with suppress(DBAPIError), self.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT")
                while not ending.wait(0.01):
                    found = connection.scalar(text(_ACTIVE)) or 0
                    self.most, self.samples = max(self.most, found), self.samples + 1


_BROKEN_LAWS = {
    "runs that overlap": (
        "SELECT one.id, other.id FROM run one JOIN run other ON one.id <> other.id"
        " WHERE one.started_at <= other.started_at AND other.started_at < one.finished_at"
    ),
    "runs that have not ended": "SELECT id, state FROM run WHERE finished_at IS NULL",
    "runs that failed": (
        "SELECT id, error FROM run WHERE state = 'failed' AND NOT error->>'code' = ANY (:failures)"
    ),
    "events that no run has handled": "SELECT id FROM bucket_event WHERE handled_by_run IS NULL",
    "changes that are counted more or less than once": (
        "SELECT changes, live FROM (SELECT sum(CAST(counts->>'users_inserted' AS bigint)"
        " + CAST(counts->>'users_restored' AS bigint)"
        " - CAST(counts->>'users_retired' AS bigint)) AS changes FROM run) AS counted,"
        " (SELECT count(*) AS live FROM users) AS found WHERE changes <> live"
    ),
    "requests that nothing answered": (
        "SELECT id FROM unnest(CAST(:requests AS bigint[])) AS request (id)"
        " LEFT JOIN run USING (id) WHERE state IS DISTINCT FROM 'succeeded' AND NOT EXISTS"
        " (SELECT FROM run later WHERE later.id > request.id AND later.state = 'succeeded'"
        "  AND later.trigger <> 'event')"
    ),
}
_STORE_SEQUENCER = 1 << 48  # of the store's own events, which are nanoseconds
_EVENTS = "SELECT key, CAST(mark AS text) AS mark FROM bucket_event"


def broken_laws(engine: Engine, load: Workload) -> dict[str, list[Any]]:
    """What must not be after all runs have ended, by law; empty if each holds."""
    named = {"requests": sorted(load.requests), "failures": sorted(load.failures)}
    broken: dict[str, list[Any]] = {}
    with engine.connect() as connection:
        for law, statement in _BROKEN_LAWS.items():
            used = {name: value for name, value in named.items() if f":{name}" in statement}
            if rows := connection.execute(text(statement), used).all():
                broken[law] = [tuple(row) for row in rows]
        found = [(row.key, int(row.mark, 16)) for row in connection.execute(text(_EVENTS))]
    stored = Counter(one for one in found if one[1] < _STORE_SEQUENCER)  # those of our clients
    if stored != Counter(load.events):
        broken["events lost, or stored twice"] = list(stored.keys() ^ load.events)
    return broken
