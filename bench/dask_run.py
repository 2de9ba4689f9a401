"""One full run in this process, and the CPU seconds of its reading, as JSON.

`python -m bench.dask_run` reads the settings from the environment, as `python -m etl run` does.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing

from etl.model.values import Trigger
from etl.runtime.logs import set_up_logs
from etl.settings import read_settings
from etl.settings.declared import file_datasets
from etl.storage.client import ObjectStore
from etl.sync import stream as _loaded  # noqa: F401 - as a scheduler has before its runs
from etl.sync.dask import executor_of
from etl.sync.manager import DataManager


def main() -> None:
    """Make the run; print its seconds, and those of the CPU here and on workers."""
    set_up_logs("console", quiet=True)
    settings = read_settings()
    store = ObjectStore(settings)
    executor = executor_of(settings, store)
    manager = DataManager(
        settings, store=store, datasets=file_datasets(settings), executor=executor
    )
    with closing(manager):
        began = time.perf_counter()
        report = manager.run(Trigger.CLI, wait_seconds=60)
        seconds = time.perf_counter() - began
    cost = getattr(executor, "cost", (0.0, 0.0))
    found = {
        "seconds": seconds,
        "here": cost[0],
        "workers": cost[1],
        "steps": report.step_seconds,
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
