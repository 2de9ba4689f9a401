"""Three datasets in every format, and how their declarations change in random histories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from etl.model.dataset import (
    USERS,
    Attachment,
    Constraints,
    Dataset,
    Field,
    FieldType,
    OnRemoved,
    ShortRows,
    UnknownColumns,
)
from etl.model.routing import path_names
from tests.dataset_files import patterns

Change = Callable[[Dataset], Dataset]

ORDERS = Dataset(
    name="orders",
    table="orders",
    include=patterns("orders/**"),
    primary_key=("order_id",),
    fields=(
        Field(name="order_id", constraints=Constraints(required=True)),
        Field(name="amount", type=FieldType.NUMBER, sql="numeric(12,2)"),
        Field(name="updated", type=FieldType.INTEGER),
    ),
    attachments=(Attachment(column="photo", match="orders/photos/{order_id}.{png,jpg}"),),
    publish=("orders.csv",),
)
READINGS = Dataset(
    name="readings",
    table="Readings",
    include=patterns("sensors/**"),
    path_columns="sensors/{site}/**",
    unknown_columns=UnknownColumns.ADD,
    fields=(
        Field(name="sensor", constraints=Constraints(required=True)),
        Field(name="celsius", type=FieldType.NUMBER, sql="double precision"),
    ),
)
NOTE = Field(name="note")

# What may change in a declaration without a rebuild; a field is added once and stays.
CHANGES: dict[str, dict[str, list[Any]]] = {
    "orders": {
        "prefer": [None, "updated"],
        "exclude": [(), ("orders/a/**",)],
        "missing_values": [("",), ("", "1")],
        "is_paused": [False, True],
        "on_removed": [OnRemoved.RETIRE, OnRemoved.DELETE],
        "short_rows": [ShortRows.REFUSE, ShortRows.PAD],
        "unknown_columns": list(UnknownColumns),
        "publish": [(), ("orders.csv",)],
    },
    "readings": {
        "unknown_columns": list(UnknownColumns),
        "include": [READINGS.include, patterns("sensors/*")],
        "path_columns": ["sensors/{site}/**", "sensors/*/{site}.*"],
        "format": [None, None, "ndjson"],
        "is_paused": [False, True],
        "missing_values": [("",), ("", "1")],
    },
    "users": {"exclude": [(), ("a/**",)], "is_paused": [False, True]},
}
CONSTRAINTS = [
    Constraints(required=True),
    Constraints(required=True, pattern="[AB]"),
    Constraints(required=True, enum=("A", "C")),
]


def with_type(name: str, **changed: Any) -> Change:  # noqa: ANN401
    """A change of a field's type."""

    def change(dataset: Dataset) -> Dataset:
        fields = [replace(one, **changed) if one.name == name else one for one in dataset.fields]
        return replace(dataset, fields=tuple(fields))

    return change


def with_key(*names: str) -> Change:
    """A change of the primary key to these columns or, if it is that already, to none."""

    def change(dataset: Dataset) -> Dataset:
        has = {*dataset.field_names, *path_names(dataset)}
        is_new = dataset.primary_key != names and has.issuperset(names)
        return replace(dataset, primary_key=names if is_new else ())

    return change


def with_path(template: str) -> Change:
    """A change of the path columns to those of the template or, if they are, to none."""

    def change(dataset: Dataset) -> Dataset:
        changed = replace(dataset, path_columns=None if dataset.path_columns else template)
        has = {*changed.field_names, *path_names(changed)}
        return changed if has.issuperset(changed.primary_key) else dataset

    return change


# What may change by a rebuild.
REBUILDS: dict[str, list[Change]] = {
    "orders": [
        with_key("order_id"),
        with_key("updated"),  # which most rows share, or lack
        lambda one: replace(one, attachments=() if one.attachments else ORDERS.attachments),
        lambda one: replace(one, fields=tuple(field for field in one.fields if field != NOTE)),
        with_type("amount", type=FieldType.STRING, sql=None),
        with_type("amount", type=FieldType.INTEGER, sql="smallint"),
        with_type("amount", type=FieldType.NUMBER, sql="numeric(4,1)"),
        lambda one: one,
    ],
    "readings": [
        with_key("sensor"),
        with_key("site", "sensor"),
        with_path("sensors/{site}/**"),
        with_type("celsius", type=FieldType.NUMBER, sql="numeric"),
        with_type("celsius", type=FieldType.STRING, sql=None),
    ],
    "users": [lambda one: one],
}


@dataclass
class Declarations:
    """The datasets file of a history, as it is now."""

    known: dict[str, Dataset] = field(
        default_factory=lambda: {one.name: one for one in (ORDERS, READINGS, USERS)}
    )
    absent: set[str] = field(default_factory=set)

    def change(self, name: str, change: tuple[str, Any]) -> None:
        what, value = change
        if what == "rebuild":
            self.known[name] = value(self.known[name])
        elif what == "absent":
            (self.absent.discard if name in self.absent else self.absent.add)(name)
        elif what == "constraints":
            first, *others = self.known[name].fields
            self.known[name] = replace(
                self.known[name], fields=(replace(first, constraints=value), *others)
            )
        elif what == "field":
            fields = self.known[name].fields
            self.known[name] = replace(
                self.known[name], fields=fields if NOTE in fields else (*fields, NOTE)
            )
        else:
            self.known[name] = replace(self.known[name], **{what: value})

    def resume(self) -> None:
        self.known = {name: replace(one, is_paused=False) for name, one in self.known.items()}

    def datasets(self, second_bucket: str) -> tuple[Dataset, ...]:
        return tuple(
            replace(one, bucket=second_bucket) if name == "readings" else one
            for name, one in self.known.items()
            if name not in self.absent
        )
