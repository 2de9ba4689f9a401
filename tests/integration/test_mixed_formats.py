"""Rows of one key in files of several formats: the same winner, whatever each is written in."""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, text

from etl.model.dataset import Constraints, Dataset, Field, FieldType
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.conftest import TestBucket
from tests.workbooks import workbook

ORDERS = Dataset(
    name="orders",
    table="orders",
    include=("orders/**",),
    primary_key=("order_id",),
    prefer="updated_at",
    fields=(
        Field(name="order_id", constraints=Constraints(required=True)),
        Field(name="amount", type=FieldType.NUMBER, sql="numeric(12,2)"),
        Field(name="updated_at", type=FieldType.DATETIME),
    ),
)
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Order:
    """A row."""

    id: str
    amount: Decimal
    updated_at: datetime | None

    @property
    def written(self) -> str:
        return "" if self.updated_at is None else self.updated_at.isoformat()


def csv(orders: list[Order]) -> bytes:
    lines = [f"{one.id};{one.amount};{one.written}" for one in orders]
    return "\n".join(["order_id;amount;updated_at", *lines, ""]).encode()


def ndjson(orders: list[Order]) -> bytes:
    rows = [
        {"order_id": one.id, "amount": str(one.amount), "updated_at": one.written or None}
        for one in orders
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(unit: str) -> Callable[[list[Order]], bytes]:
    def write(orders: list[Order]) -> bytes:
        content = io.BytesIO()
        columns = {
            "order_id": [one.id for one in orders],
            "amount": pa.array([one.amount for one in orders], pa.decimal128(12, 2)),
            "updated_at": pa.array(
                [one.updated_at for one in orders], pa.timestamp(unit, "Europe/Berlin")
            ),
        }
        pq.write_table(pa.table(columns), content, row_group_size=2)
        return content.getvalue()

    return write


def sheet(orders: list[Order]) -> bytes:
    rows = [
        (one.id, float(one.amount), one.updated_at and one.updated_at.replace(tzinfo=None))
        for one in orders
    ]
    return workbook([("order_id", "amount", "updated_at"), *rows])


FORMATS: dict[str, Callable[[list[Order]], bytes]] = {
    "csv": csv,
    "csv.gz": lambda orders: gzip.compress(csv(orders)),
    "ndjson": ndjson,
    "us.parquet": parquet("us"),
    "ns.parquet": parquet("ns"),
    "xlsx": sheet,
}


def some_orders(chance: random.Random) -> list[Order]:
    return [
        Order(
            f"o{chance.randrange(8)}",
            Decimal(chance.randrange(10_000)) / 100,
            chance.choice([None, *(START + timedelta(hours=hours) for hours in range(4))]),
        )
        for _ in range(chance.randrange(1, 6))
    ]


@pytest.mark.parametrize("seed", range(4))
def test_the_preferred_row_wins_in_whatever_format_it_is(
    bucket: TestBucket, settings: Settings, engine: Engine, seed: int
):
    chance = random.Random(seed)  # noqa: S311 - reproducible
    manager = DataManager(settings, datasets=(ORDERS,))
    for _ in range(4):
        for name in chance.sample(sorted(FORMATS), 3):
            key = f"orders/{chance.randrange(3)}.{name}"
            if chance.random() < 0.2:
                bucket.remove(key)
            else:
                bucket.put(key, FORMATS[name](some_orders(chance)))
        manager.run(Trigger.CLI, allowed_retirements={"orders": None})
        assert verify(settings, engine, datasets=(ORDERS,)) == []
    with engine.connect() as connection:
        lost = connection.scalar(
            text(
                "SELECT count(*) FROM orders JOIN orders_shadowed AS other USING (order_id)"
                " WHERE coalesce(other.updated_at, '-infinity')"
                " > coalesce(orders.updated_at, '-infinity')"
            )
        )
        assert lost == 0
        assert connection.scalar(text("SELECT count(*) FROM orders_shadowed")) > 0
