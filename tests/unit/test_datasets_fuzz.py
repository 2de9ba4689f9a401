"""Any TOML document is either declared or refused with faults that name keys of the document."""

from __future__ import annotations

import json
import re
import tempfile
import tomllib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import FieldType
from etl.model.declaration import compare, from_json, reading_hash, to_json
from etl.model.errors import ConfigurationError
from etl.model.routing import Router, path_names, path_values
from etl.settings import Settings
from etl.settings.datasets import keys
from etl.settings.datasets.keys import TableRules, ValueKind
from etl.settings.datasets_file import read_datasets

SETTINGS = Settings(_env_file=None)
NAMES = ["a", "b", "c", "A", "_x", "a b", "users", "object", "ctid", "", "hive", "x" * 60]
PATTERNS = ["**/*.csv", "a/year=*/*.tsv", "{a}/**", "**/{b}.png", "a**", "{", "", "\\", "{a,b}/c"]
WORDS = ["csv", "retire", "delete", "add", "pad", "10%", "200%", "a.csv", "b.parquet", "today"]
TIMES = ["%Y-%m-%d", "%H:%M", "%Y-%m-%d %H", "%Q", "default", "any", "Europe/Berlin", "UTC"]
TYPES = [*FieldType, "list", "text"]
SQL = ["numeric(12,2)", "varchar(3)", "bigint", "money"]
TEXTS = st.one_of(
    *map(st.sampled_from, [NAMES, PATTERNS, WORDS, TIMES, SQL, list(map(str, TYPES))]),
    st.text(max_size=3),
)
SCALARS = st.one_of(
    TEXTS,
    st.booleans(),
    st.integers(-2, 10**20),
    st.sampled_from(["inf", "nan", "1.5", "2026-03-27", "18:30:00", "2026-03-27T18:30:00Z"]).map(
        lambda text: tomllib.loads(f"x = {text}")["x"]
    ),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(NAMES), inner, max_size=2)
    ),
    max_leaves=4,
)
INNER: dict[str, TableRules] = {
    "dialect": keys.DIALECT,
    "schema": keys.SCHEMA,
    "fields": keys.FIELD,
    "constraints": keys.CONSTRAINTS,
    "derived": keys.DERIVED,
    "attachments": keys.ATTACHMENT,
}
LIKELY = {
    "name": st.sampled_from(["a", "b", "c", "d"]),
    "type": st.sampled_from([*FieldType, *FieldType, "list"]).map(str),
    "include": st.just(["**/*.csv"]),
    "version": st.just(1),
    "from": st.sampled_from(["a", "b"]),
    "as": st.sampled_from(["date", "age"]),
    "pattern": st.sampled_from(["a+", "(", "[a-z]{2}"]),
    "bucket": st.sampled_from(["data", "src-data", "thumbnails"]),
    "table": st.sampled_from(["t", "u", "t_retired"]),
    "format": st.sampled_from(["csv", "default"]),
    "exclude": st.sampled_from([[], ["tmp/**"], ["{"]]),
    "prefer": st.sampled_from(["a", "b"]),
    "on_removed": st.sampled_from(["retire", "delete"]),
    "unknown_columns": st.sampled_from(["extra", "add", "refuse"]),
    "short_rows": st.sampled_from(["refuse", "pad"]),
    "refuse_object_above": st.sampled_from(["0%", "12.5%"]),
    "path_columns": st.sampled_from(["{c}/**", "{a}/{d}/*", "hive"]),
    "publish": st.sampled_from([[], ["a.csv"], ["b.csv", "b.parquet"]]),
    "indexes": st.sampled_from([[["a"]], [["b"], ["b", "a"]]]),
    "aliases": st.sampled_from([["x"], ["x", "Y "], ["a"]]),
    "column": st.sampled_from(["p", "q"]),
    "match": st.sampled_from(["**/{a}.png", "{b}.{jpg,gif}", "{a}.csv"]),
}


RIGHT = {
    ValueKind.TEXT: TEXTS,
    ValueKind.TEXTS: st.lists(TEXTS, max_size=2),
    ValueKind.TEXT_OR_TEXTS: st.sampled_from(["a", ["a"], ["b", "a"]]),
    ValueKind.LISTS: st.lists(st.lists(st.sampled_from(NAMES[:4]), max_size=2), max_size=2),
    ValueKind.FLAG: st.booleans(),
    ValueKind.INTEGER: st.integers(-1, 3),
    ValueKind.MISSING_VALUES: st.lists(TEXTS, max_size=2),
    ValueKind.LIST: st.lists(SCALARS, max_size=2),
}


def value_of(key: str, kind: ValueKind, *, is_wild: bool) -> st.SearchStrategy[object]:
    """A value of the right type for the key; a wild one now and then of another."""
    if key in INNER and kind is ValueKind.TABLES:
        name = "column" if key == "attachments" else "name"
        inner = tables(INNER[key], is_wild=is_wild)
        right = st.lists(inner, min_size=1, max_size=3, unique_by=lambda one: repr(one[name]))
    elif key in INNER:
        right = tables(INNER[key], is_wild=is_wild)
    else:
        right = LIKELY.get(key, RIGHT.get(kind, SCALARS))
    if not is_wild:
        return right
    return st.integers(0, 19).flatmap(lambda roll: right if roll else ANYTHING)


def tables(rules: TableRules, *, is_wild: bool) -> st.SearchStrategy[dict[str, object]]:
    """A table with the required keys and some others."""
    strategies = {
        key: st.deferred(
            lambda key=key, rule=rule: value_of(key, rule.kind, is_wild=is_wild)  # type: ignore[misc]
        )
        for key, rule in rules.keys.items()
        if is_wild or key in {*LIKELY, *INNER, "trim", "title", "primaryKey", "paused", "required"}
    }
    if is_wild:
        strategies |= dict.fromkeys(rules.refused or {}, ANYTHING)
    more = sorted(set(strategies) - set(rules.required))
    chosen = st.lists(st.sampled_from(more), max_size=3, unique=True) if more else st.just([])
    return chosen.flatmap(
        lambda names: st.fixed_dictionaries(
            {name: strategies[name] for name in (*rules.required, *names)}
        )
    )


WILD = st.dictionaries(
    st.sampled_from(["a", "b", "users", *NAMES]),
    tables(keys.DATASET, is_wild=True) | tables(keys.PRESET, is_wild=True),
    min_size=1,
    max_size=2,
)
TAME = st.dictionaries(
    st.sampled_from(["a", "b"]), tables(keys.DATASET, is_wild=False), min_size=1, max_size=2
)


def toml(value: object) -> str:
    """The value in TOML."""
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{toml(str(key))} = {toml(one)}" for key, one in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (bool, float)):
        return str(value).lower()
    return str(value)


def document(datasets: dict[str, dict[str, object]]) -> str:
    lines = ["version = 1"]
    for name, table in datasets.items():
        lines.append(f"[datasets.{toml(name)}]")
        lines += [f"{toml(key)} = {toml(value)}" for key, value in table.items()]
    return "\n".join(lines)


def check(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "datasets.toml"
        path.write_text(text, "utf-8")
        try:
            declared = read_datasets(path, SETTINGS)
        except ConfigurationError as error:
            count = text.count("\n") + 1
            lines = [int(line) for line in re.findall(r"datasets\.toml, line (\d+)", error.message)]
            assert lines
            assert all(1 <= line <= count for line in lines)
            return
    Router(declared, "src-data").route("src-data", "a/b.csv")
    for one in declared:
        assert from_json(json.loads(json.dumps(to_json(one)))) == one
        assert compare(one, one) == []
        assert reading_hash(one)
        assert tuple(path_values(one, "a/year=1/b.csv")) == path_names(one)


@given(WILD | TAME)
def test_any_datasets_are_declared_or_refused(datasets: dict[str, dict[str, object]]):
    check(document(datasets))


@given(st.dictionaries(st.sampled_from(["version", "datasets", "x"]), ANYTHING, max_size=3))
def test_any_document_is_declared_or_refused(found: dict[str, object]):
    check("\n".join(f"{key} = {toml(value)}" for key, value in found.items()))
