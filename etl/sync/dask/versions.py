"""The versions that a run, its Dask scheduler and its workers must have in common."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

import etl
from etl.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_HINT = (
    "Run the Dask scheduler, its workers and Bucketline from the same image, or install the same"
    " locks."
)
_PACKAGES = ("pyarrow", "distributed")


@cache
def versions() -> dict[str, str]:
    """The versions of this process: of Bucketline, Python up to its minor number, and packages."""
    python = ".".join(map(str, sys.version_info[:2]))
    return {"bucketline": etl.__version__, "python": python} | {
        name: version(name) for name in _PACKAGES
    }


def check_versions(
    expected: Mapping[str, str], found: Mapping[str, str], place: str, address: str
) -> None:
    """Compare versions `found` at a place with those of the run.

    Raises:  ConfigurationError.
    """
    differing = [
        f"{name} {found.get(name, 'none')} instead of {wanted}"
        for name, wanted in expected.items()
        if found.get(name) != wanted
    ]
    if differing:
        faults = ", ".join(differing)
        raise ConfigurationError(
            f"{place} {address} has {faults}.", hint=_HINT, public_message=f"{place} has {faults}."
        )


def not_installed(place: str) -> ConfigurationError:
    """The error of a scheduler or worker that has no Bucketline."""
    return ConfigurationError(f"{place} does not have Bucketline installed.", hint=_HINT)
