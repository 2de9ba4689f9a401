"""The packages of etl and api: documented, and with one meaning for each class name."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = [path for top in ("etl", "api") for path in sorted((ROOT / top).rglob("*.py"))]
PACKAGES = [path.parent for path in MODULES if path.name == "__init__.py"]


def test_the_root_of_etl_has_at_most_three_modules():
    assert len(list((ROOT / "etl").glob("*.py"))) <= 3


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_package_has_a_docstring(package: Path):
    assert ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8")))


def test_no_two_public_classes_share_a_name():
    places = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path.relative_to(ROOT).as_posix())
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
