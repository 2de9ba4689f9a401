"""Import Arrow without pandas."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


def import_arrow() -> None:
    """Import Arrow, and let it find that pandas is not there.

    Arrow imports pandas with the first value that it converts, in case it is one of pandas. We
    convert none, and pandas takes 0.2 s and 40 MB. Code that needs pandas imports it as usual.
    """
    if "pyarrow" in sys.modules or "pandas" in sys.modules:
        return
    import pyarrow as pa  # noqa: PLC0415 - most processes do not need it

    missing = _PandasIsMissing()
    sys.meta_path.insert(0, missing)
    try:
        pa.scalar(0)
    finally:
        sys.meta_path.remove(missing)


class _PandasIsMissing(MetaPathFinder):
    """Finds no pandas."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        """Raise the error of a missing module for pandas; leave all others to other finders.

        Raises:  ModuleNotFoundError
        """
        if name == "pandas":
            raise ModuleNotFoundError(name=name)
        return None
