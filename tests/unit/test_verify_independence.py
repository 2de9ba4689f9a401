"""verify shares no code with the runs that it checks."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
VERIFY = ROOT / "etl" / "verify"
# Values, errors, settings and table definitions; nothing that reads, checks or merges.
_SHARED = (
    *("db.engine", "db.tables", "model.dataset", "model.errors", "model.values", "runtime.program"),
    *("settings", "settings.s3"),
)
SHARED = {f"etl.{name}" for name in _SHARED}
PURE = {"etl.model.dataset", "etl.model.errors", "etl.model.values"}
CHECKED = (
    *("read", "storage", "sync", "images", "db.copy_stream", "db.manifest"),
    *("model.declaration", "model.keys", "model.patterns", "model.routing", "model.types"),
)
EDGES = {"__init__", "buckets", "check", "tables", "images", "store"}


def imports(file: Path) -> Iterator[str]:
    """Every module of the project that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if is_ours(alias.name))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole module"
            if node.module in {"etl", "etl.verify"}:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            elif is_ours(node.module or ""):
                yield node.module or ""


def is_ours(module: str) -> bool:
    return module.partition(".")[0] in {"api", "etl"}


def outside_verify(file: Path) -> set[str]:
    return {module for module in imports(file) if not module.startswith("etl.verify.")}


@pytest.mark.parametrize("file", sorted(VERIFY.glob("*.py")), ids=lambda file: file.stem)
def test_verify_imports_only_values_and_tables(file: Path):
    assert outside_verify(file) <= (SHARED if file.stem in EDGES else PURE)


def test_loading_verify_loads_nothing_that_it_checks():
    program = "import sys, etl.verify.check; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = ended.stdout.split()
    assert "etl.verify.reader" in loaded
    checked = tuple(f"etl.{name}" for name in CHECKED)
    assert [name for name in loaded if name.startswith(checked)] == []
