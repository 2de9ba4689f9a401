"""Read the batches of a run on Dask workers: they fetch, check and stage; the run merges.

The submodules are imported only when used, because Dask is an extra, `[dask]`. May import what
`etl.sync` may.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from etl.model.errors import ConfigurationError
from etl.sync.executor import Threads

if TYPE_CHECKING:
    from etl.settings import Settings
    from etl.storage.client import ObjectStore
    from etl.sync.executor import Executor

LOCAL = "local"  # instead of an address: workers of our own, on this machine


def executor_of(settings: Settings, store: ObjectStore) -> Executor:
    """Where these settings have batches read: on Dask workers, or in threads.

    Raises:  ConfigurationError when Dask is asked for and not installed.
    """
    if settings.dask_scheduler is None:
        return Threads(store)
    require_dask()
    from etl.sync.dask.coordinator import DaskWorkers  # noqa: PLC0415 - an extra

    return DaskWorkers(settings, store)


def require_dask() -> None:
    """Check that Dask is installed.

    Raises:  ConfigurationError with a hint how to install it.
    """
    if find_spec("distributed") is None:
        raise ConfigurationError(
            "Dask is not installed.",
            hint="With ./run.sh, `run --dask` and DASK_SCHEDULER install it. Elsewhere, install"
            " Bucketline with its extra: `pipx install 'bucketline[dask]'`.",
        )
