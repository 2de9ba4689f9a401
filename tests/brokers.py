"""Kafka brokers for the tests: librdkafka's mock cluster, in a process of its own.

It speaks the real protocol over TCP and loses its data when it ends. Also a TCP relay, which
makes a server unreachable and reachable again for its clients.
"""

from __future__ import annotations

import json
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from urllib.parse import quote_plus

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from etl.settings import Settings
from tests.processes import start

TOPIC = "bucket-events"
PARTITIONS = 4  # what the mock cluster gives a new topic
SESSION_SECONDS = 4  # the group removes a member after this time without a heartbeat

# By the library's own functions: no setting changes that a new group waits 3 s for further members.
_CLUSTER = """
import ctypes, sys
kafka = ctypes.CDLL(sys.argv[1])
for made in (kafka.rd_kafka_conf_new, kafka.rd_kafka_new, kafka.rd_kafka_mock_cluster_new):
    made.restype = ctypes.c_void_p
kafka.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
options = ctypes.c_void_p(kafka.rd_kafka_conf_new())
kafka.rd_kafka_conf_set(options, b"log_level", b"0", None, 0)
client = ctypes.c_void_p(kafka.rd_kafka_new(0, options, None, 0))
cluster = ctypes.c_void_p(kafka.rd_kafka_mock_cluster_new(client, 3))
kafka.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
print(kafka.rd_kafka_mock_cluster_bootstraps(cluster).decode(), flush=True)
sys.stdin.read()
"""


def notification(
    key: str, bucket: str = "src-data", event_name: str = "s3:ObjectCreated:Put"
) -> bytes:
    """The message MinIO sends for an event; its sequencer depends only on event and key."""
    sequencer = f"{len(event_name)}{key}"
    record = {
        "eventName": event_name,
        "eventTime": "2026-01-02T03:04:05.678Z",
        "s3": {
            "bucket": {"name": bucket},
            "object": {"key": quote_plus(key), "size": 5, "eTag": "abc", "sequencer": sequencer},
        },
    }
    whole = {"EventName": record["eventName"], "Key": f"{bucket}/{key}", "Records": [record]}
    return json.dumps(whole).encode()


class BrokerClients:
    """Clients that send to brokers and read from them."""

    def __init__(self, addresses: str) -> None:
        self.addresses = addresses
        self._producer = Producer({"bootstrap.servers": addresses, "log_level": 0})
        self._offsets: dict[str, dict[tuple[int, int], bytes]] = {}
        self._turns = cycle(range(PARTITIONS))

    def send(self, topic: str, values: Iterable[bytes | None], **options: object) -> None:
        """Send the values and wait until the brokers have them.

        Each goes to the next partition, unless a key or a partition is given. The client's own
        partitioner would send a burst to one partition, and so to one consumer.
        """
        is_placed = not {"key", "partition"}.isdisjoint(options)

        def delivered(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            place = (message.partition() or 0, message.offset() or 0)
            self._offsets.setdefault(topic, {})[place] = message.value() or b""

        for value in values:
            place = {} if is_placed else {"partition": next(self._turns)}
            self._producer.produce(topic, value, on_delivery=delivered, **options, **place)
            self._producer.poll(0)
        assert self._producer.flush(30) == 0

    def send_large(self, topic: str, value: bytes, *, partition: int) -> None:
        """Send a message larger than clients allow by default.

        Use a partition without other messages: these brokers drop the oldest beyond 5 MB.
        """
        options = {"bootstrap.servers": self.addresses, "message.max.bytes": 9_000_000}
        producer = Producer({**options, "log_level": 0})
        producer.produce(topic, value, partition=partition)
        assert producer.flush(30) == 0

    def below_committed(self, topic: str, group: str) -> list[bytes]:
        """The values sent below the offsets that the group has committed."""
        client = Consumer({"bootstrap.servers": self.addresses, "group.id": group, "log_level": 0})
        asked = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        committed = {each.partition: each.offset for each in client.committed(asked, timeout=10)}
        client.close()
        return [
            value
            for (partition, offset), value in self._offsets.get(topic, {}).items()
            if offset < committed[partition]
        ]

    def read(self, topic: str, count: int, *, seconds: float = 20) -> list[Message]:
        """Read the first `count` messages of a topic, or those that arrive in time."""
        client = Consumer(
            {
                "bootstrap.servers": self.addresses,
                "group.id": uuid.uuid4().hex,
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        client.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        found: list[Message] = []
        for _ in range(round(seconds / 0.2)):
            found += [m for m in client.consume(count, 0.2) if m.error() is None]
            if len(found) >= count:
                break
        client.close()
        return found

    def settings(self, settings: Settings, **further: object) -> Settings:
        """The settings with these brokers, and a group that removes dead members soon."""
        options = {
            "session.timeout.ms": f"{SESSION_SECONDS * 1000}",
            "heartbeat.interval.ms": "500",
        }
        return settings.model_copy(
            update={
                "kafka_bootstrap_servers": self.addresses,
                "kafka_options": options,
                **further,
            }
        )


class Brokers(BrokerClients):
    """Three brokers in one process, and clients that send and read."""

    def __init__(self) -> None:
        libraries = Path(confluent_kafka.__file__).parent.with_suffix(".libs")
        (library,) = libraries.glob("librdkafka*")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _CLUSTER, library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout
        super().__init__(self._process.stdout.readline().decode().strip())

    def end(self) -> None:
        """End the brokers, even if they hang."""
        self._process.kill()
        self._process.communicate()

    def hang(self) -> None:
        """Stop the brokers until resume()."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)


class Consuming:
    """`python -m etl events kafka` as a process of its own."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = start(settings, "events", "kafka", stderr=file)

    def log(self) -> str:
        return self._log.read_text("utf-8")

    def is_assigned(self) -> bool:
        """Whether it has held partitions; a new member is first assigned none."""
        return re.search(r"partitions assigned.*=\[\d", self.log()) is not None

    def kill(self) -> None:
        """Kill it, as a power cut does."""
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """Stop it in an orderly way; return the exit code."""
        self.process.terminate()
        return self.process.wait(30)


Start = Callable[[Settings], Consuming]


class Relay:
    """A TCP relay to a server, which can be cut and restored. It listens once restored."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]

    def restore(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._serve, args=[self._listener], daemon=True).start()

    def cut(self) -> None:
        """Refuse new connections and close the existing ones."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for each in list(self._open):
            _end(each)

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            self._open |= {client, server}
            threading.Thread(target=self._pump, args=[client, server], daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        pair = {one: other, other: one}
        try:
            while True:
                for source in select.select(list(pair), [], [])[0]:
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    pair[source].sendall(data)
        except (OSError, ValueError):
            return
        finally:
            self._open -= set(pair)
            for each in pair:
                _end(each)


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    finally:
        connection.close()


@contextmanager
def relayed(target: tuple[str, int]) -> Iterator[Relay]:
    relay = Relay(target)
    relay.restore()
    try:
        yield relay
    finally:
        relay.cut()
