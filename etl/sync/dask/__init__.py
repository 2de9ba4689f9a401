"""Read the batches of a run on Dask workers: they fetch, check and stage; the run merges.

The submodules are imported only when used, because Dask is an extra, `[dask]`. May import what
`etl.sync` may.
"""

from __future__ import annotations

from importlib.util import find_spec

from etl.model.errors import ConfigurationError

LOCAL = "local"  # instead of an address: workers of our own, on this machine


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
