"""Datasets that tests declare: one with a key and a preferred row, one without a key."""

from __future__ import annotations

from etl.model.dataset import (
    Attachment,
    Constraints,
    Dataset,
    Derived,
    DerivedAs,
    Field,
    FieldType,
)

REQUIRED = Constraints(required=True)

ORDERS = Dataset(
    name="orders",
    table="orders",
    include=("orders/**/*.csv",),
    primary_key=("order_id",),
    prefer="updated",
    fields=(
        Field(name="order_id", constraints=REQUIRED),
        Field(name="amount", type=FieldType.NUMBER, sql="numeric(12,2)"),
        Field(name="rank", type=FieldType.INTEGER),
        Field(name="updated", type=FieldType.INTEGER),
    ),
    indexes=(("amount",), ("updated", "rank")),
    publish=("orders.csv",),
)

READINGS = Dataset(
    name="readings",
    table="Readings",
    include=("sensors/**/*.csv",),
    path_columns="sensors/{site}/**",
    fields=(
        Field(name="sensor", constraints=REQUIRED),
        Field(name="celsius", type=FieldType.NUMBER, sql="double precision"),
    ),
    indexes=(("sensor",),),
)

# A composite key, of which a part comes from the object key, and two attachments.
PARTS = Dataset(
    name="parts",
    table="parts",
    include=("parts/**/*.csv",),
    path_columns="parts/{plant}/**",
    primary_key=("plant", "number"),
    fields=(
        Field(name="number", type=FieldType.INTEGER, constraints=REQUIRED),
        Field(name="drawing", constraints=Constraints()),
        Field(name="made", type=FieldType.EPOCH_MS),
    ),
    derived=(Derived(name="made_on", source="made", computed_as=DerivedAs.DATE),),
    attachments=(
        Attachment(column="photo", match="parts/photos/{number}.{png,jpg}"),
        Attachment(column="plan", match="parts/plans/{drawing}.{png,jpg}"),
    ),
)
