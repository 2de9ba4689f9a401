"""Only tests marked `planner` may assert plans, statistics or counters of PostgreSQL."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PLANNER = re.compile(r"seq_scan|seq_tup|idx_scan|idx_tup|enable_\w+(join|scan)|EXPLAIN|reltuples")


def unmarked(module: str) -> set[str]:
    """The unmarked tests of a module that use planner terms, directly or through helpers."""
    nodes = {name: node for node in ast.parse(module).body for name in names_of(node)}
    found = {name for name, node in nodes.items() if PLANNER.search(ast.unparse(node))}
    while (
        users := {
            name
            for name, node in nodes.items()
            if found & {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        }
        - found
    ):
        found |= users
    return {
        name
        for name in found
        if name.startswith("test_")
        and "pytest.mark.planner" not in map(ast.unparse, nodes[name].decorator_list)
    }


def names_of(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def test_unmarked_tests_assert_no_plan():
    others = (path for path in TESTS.rglob("test_*.py") if path != Path(__file__))
    assert {path.name: names for path in others if (names := unmarked(path.read_text()))} == {}


def test_a_test_that_reads_counters_through_a_helper_is_found():
    module = (
        'SCANS = "SELECT seq_scan"\ndef scans(): return SCANS\ndef test_a(): assert scans() == 0\n'
    )
    assert unmarked(module) == {"test_a"}
    assert not unmarked(module.replace("def test_a", "@pytest.mark.planner\ndef test_a"))
