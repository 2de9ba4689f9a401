"""Full runs whose batches are read on two Dask workers, next to the same runs in threads."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import objects, reading_data
from bench.figures import Figure, Target, figure
from bench.loads import filled
from bench.progress import say
from bench.runs import ROOT
from bench.stack import environment, execute
from etl.local.ports import LOOPBACK, any_free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.scale import Scale
    from bench.stack import Stack
    from etl.settings import Settings

DECLARATION = Path(__file__).with_name("dask.toml")
WORKERS = 2
PREDICTED = (4, 16)
TIME_FACTOR = 1.2
CPU_SHARE = 90.0  # percent of the CPU seconds of reading that are of workers
START_SECONDS = 60
KILLED_AT = (0.3, 0.6)  # shares of the objects: a worker, then the Dask scheduler
_READ = (
    "SELECT coalesce(CAST(progress ->> 'done' AS bigint), 0) FROM run"
    " WHERE progress ->> 'step' = 'read'"
)


class _Run(NamedTuple):
    """Seconds of a run, CPU seconds of its reading here and on workers, and of its steps."""

    seconds: float
    here: float
    workers: float
    steps: dict[str, float]


class Cluster:
    """A Dask scheduler and workers as processes; those that are killed are started again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._log = folder, folder / "dask.log"
        self._port = any_free_port()
        self.address = f"tcp://{LOOPBACK}:{self._port}"
        self._stopping = threading.Event()
        self._scheduler = self._start_scheduler()
        self._workers = [self._start_worker() for _ in range(WORKERS)]
        self._supervisor = threading.Thread(target=self._supervise)
        self._supervisor.start()

    def wait(self) -> None:
        """Wait until all workers are connected: a cluster is there before a run.

        Raises:  RuntimeError.
        """
        for _ in range(START_SECONDS * 10):
            if self._log.exists() and self._log.read_text().count("Registered to:") >= WORKERS:
                return
            time.sleep(0.1)
        raise RuntimeError("The Dask workers do not start.")

    def kill_worker(self) -> None:
        """Kill one worker."""
        self._workers[0].kill()

    def kill_scheduler(self) -> None:
        """Kill the Dask scheduler."""
        self._scheduler.kill()

    def close(self) -> None:
        """End all processes."""
        self._stopping.set()
        self._supervisor.join()
        for process in [*self._workers, self._scheduler]:
            process.kill()
            process.wait()

    def _supervise(self) -> None:
        while not self._stopping.wait(0.2):
            if self._scheduler.poll() is not None:
                self._scheduler = self._start_scheduler()
            self._workers = [
                one if one.poll() is None else self._start_worker() for one in self._workers
            ]

    def _start_scheduler(self) -> subprocess.Popen[bytes]:
        place = ("--host", LOOPBACK, "--port", str(self._port))
        return self._start("dask_scheduler", *place, "--dashboard-address", f"{LOOPBACK}:0")

    def _start_worker(self) -> subprocess.Popen[bytes]:
        alone = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self._folder))
        return self._start("dask_worker", self.address, "--host", LOOPBACK, *alone)

    def _start(self, module: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{module}", *words, "--no-dashboard"]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)  # noqa: S603


@contextmanager
def _cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="bucketline-dask-") as folder:
        started = Cluster(Path(folder))
        try:
            started.wait()
            yield started
        finally:
            started.close()


def workers(stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure first runs in threads, on workers, and on workers that are killed; compare them."""
    bucket = filled(stack, "workers", _items(scale))
    what = (
        f"{scale.worker_csvs:,} CSVs, {scale.worker_csvs // 10:,} images, one CSV of"
        f" {scale.worker_rows:,} rows, Parquet of {scale.worker_readings:,} rows"
    )
    if importlib.util.find_spec("distributed") is None:
        yield figure("dask", what, "s", [], note="Dask is not installed")
        return
    threads, dask = [], []
    for left in reversed(range(scale.slow_repeats)):
        threads.append(_first(stack, bucket, None, verifies=not left))
        with _cluster() as cluster:
            dask.append(_first(stack, bucket, cluster, verifies=not left))
    last = dask[-1]
    yield figure(
        "dask",
        f"{what}, first run on {WORKERS} workers",
        "s",
        [one.seconds for one in dask],
        baseline="the same in threads",
        baseline_samples=[one.seconds for one in threads],
        target=Target(TIME_FACTOR, of="threads"),
        note=", ".join(f"{name} {seconds:.1f}" for name, seconds in last.steps.items()),
    )
    yield figure(
        "dask",
        "CPU seconds of reading that are of workers",
        "%",
        [100 * one.workers / (one.workers + one.here) for one in dask],
        target=Target(extra=CPU_SHARE, at_least=True),
        note=f"{last.workers:.1f} s on workers, {last.here:.1f} s here; reading on "
        + " and ".join(f"{count} workers {_reading(last, count):.1f} s" for count in PREDICTED),
    )
    with _cluster() as cluster:
        killed = _first(stack, bucket, cluster, kills=True)
    yield figure(
        "dask",
        "the same with a worker and the Dask scheduler killed",
        "s",
        [killed.seconds],
        note="equal by verify, nothing doubled",
    )


def _reading(measured: _Run, count: int) -> float:
    """The predicted seconds of reading with that many workers on cores of their own."""
    return max(measured.here, measured.workers / count)


def _items(scale: Scale) -> Iterator[tuple[str, bytes]]:
    tiny = ((f"t{key}", content) for key, content in objects.tiny_csvs(scale.worker_csvs))
    pictures = ((f"t{key}", content) for key, content in objects.images(scale.worker_csvs // 10))
    large = ("big.csv", b"".join(objects.big_csv_in_blocks(scale.worker_rows)))
    readings = reading_data.as_parquet(reading_data.rows(scale.worker_readings))
    return chain(tiny, pictures, [large, (reading_data.key_of("parquet"), readings)])


def _first(
    stack: Stack,
    bucket: str,
    cluster: Cluster | None,
    *,
    kills: bool = False,
    verifies: bool = True,
) -> _Run:
    """Make a first run, and verify it, which takes longer than the run.

    If it `kills`, a worker and the Dask scheduler are killed meanwhile.
    """
    settings = stack.fresh(bucket)
    stack.settle()
    values = environment(settings) | {"DATASETS_FILE": str(DECLARATION)}
    values |= {} if cluster is None else {"DASK_SCHEDULER": cluster.address}
    with subprocess.Popen(
        [sys.executable, "-m", "bench.dask_run"], cwd=ROOT, env=values, stdout=subprocess.PIPE
    ) as process:
        if kills and cluster is not None:
            _kill(settings, process, cluster)
        output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError("The run failed.")
    found: dict[str, Any] = json.loads(output)
    say(f"  a run {'in threads' if cluster is None else 'on workers'}: {found['seconds']:.2f} s")
    if verifies:
        _verify(values)
    stack.drop(settings)
    return _Run(**found)


def _kill(settings: Settings, process: subprocess.Popen[bytes], cluster: Cluster) -> None:
    """Kill a worker, then the scheduler, once these shares of the objects are read."""
    waiting: list[tuple[float, Callable[[], None]]] = list(
        zip(KILLED_AT, (cluster.kill_worker, cluster.kill_scheduler), strict=True)
    )
    objects_staged = _objects_of(settings)
    while waiting and process.poll() is None:
        done = execute(settings, _READ)
        if done and done[0][0] >= waiting[0][0] * objects_staged:
            say("  killing a process of Dask")
            waiting.pop(0)[1]()
        threading.Event().wait(0.1)


def _objects_of(settings: Settings) -> int:
    from etl.storage.client import ObjectStore  # noqa: PLC0415 - only here

    return len(list(ObjectStore(settings).list_objects(settings.source_bucket)))


def _verify(values: dict[str, str]) -> None:
    """Compare the tables with the buckets.

    Raises:  RuntimeError when they differ.
    """
    done = subprocess.run(
        [sys.executable, "-m", "etl", "verify"],
        cwd=ROOT,
        env=values,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"The tables differ: {done.stdout.strip()[-500:]}")
