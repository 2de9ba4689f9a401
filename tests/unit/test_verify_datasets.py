"""The verifier's reading of files of declared datasets."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from etl.model.dataset import (
    Constraints,
    Dataset,
    Dialect,
    Field,
    FieldType,
    ShortRows,
    UnknownColumns,
)
from etl.verify.layout import ObjectColumns
from etl.verify.reader import Reading, read

TODAY = date(2024, 2, 29)
ORDERS = Dataset(
    name="orders",
    table="orders",
    include=("**",),
    primary_key=("order_id",),
    fields=(
        Field(name="order_id", aliases=("Order No",)),
        Field(name="amount", type=FieldType.NUMBER, sql="numeric(12,2)"),
        Field(name="status", constraints=Constraints(enum=("new", "paid"))),
    ),
)


def reading(
    content: str,
    key: str = "a.csv",
    added: tuple[str, ...] = (),
    **changes: Any,  # noqa: ANN401
) -> Reading:
    return read(content.encode(), ObjectColumns(replace(ORDERS, **changes), added), key, TODAY)


def values(found: Reading) -> list[tuple[object, ...]]:
    return [row.values for row in found.rows]


@pytest.mark.parametrize("name", ["order_id", " ORDER_ID ", "order no", "Order No"])
def test_headers_match_names_and_aliases_in_any_case(name: str):
    assert values(reading(f"amount,{name}\n1.5,A")) == [("A", Decimal("1.5"), None)]


def test_a_name_and_its_alias_are_one_column_twice():
    assert reading("order_id,Order No\nA,B").faults == {"duplicate-column": 1}


def test_only_required_columns_must_be_there():
    assert values(reading("order_id\nA")) == [("A", None, None)]
    assert reading("amount,status\n1,new").faults == {"missing-column": 1}
    assert values(reading("x,status\n1,new", primary_key=())) == [(None, None, "new")]
    assert reading("x,y\n1,new", primary_key=()).faults == {"missing-column": 1}


def test_key_columns_are_required():
    assert reading("order_id,amount\n,1").rejected == [(2, "missing-cell")]


def test_delimiter_and_quote_are_declared_or_detected():
    assert values(reading("order_id;amount\nA;1")) == [("A", Decimal(1), None)]
    dialect = Dialect(delimiter=";", quote_char="'")
    assert values(reading("order_id;status\n'A;''B';new", dialect=dialect)) == [
        ("A;'B", None, "new")
    ]
    assert reading("order_id,amount\nA,1", dialect=dialect).faults == {"missing-column": 1}
    assert values(reading("order_id\tamount\nA,B\t1", "a.tsv")) == [("A,B", Decimal(1), None)]


def test_each_fault_of_a_row_is_listed_by_column():
    found = reading("order_id,amount,status\n,1.234,old\nA,1.23,new")
    assert found.rejected == [
        (2, "too-many-decimals"),
        (2, "missing-cell"),
        (2, "not-in-enum"),
    ]
    assert (found.rows_rejected, len(found.rows)) == (1, 1)


def test_an_ambiguous_time_is_listed_and_its_row_loaded():
    field = Field(name="at", type=FieldType.DATETIME, timezone="Europe/Berlin")
    found = reading(
        "order_id,at\nA,2024-10-27T02:30:00\nB,2024-03-31T02:30:00",
        fields=(*ORDERS.fields, field),
    )
    assert found.rejected == [(2, "ambiguous-time"), (3, "nonexistent-time")]
    assert [row.line for row in found.rows] == [2]
    assert found.rows_rejected == 1


def test_untrimmed_cells_keep_their_space():
    fields = (ORDERS.fields[0], Field(name="note", trim=False))
    found = reading('order_id,note\n A , x \n  B," y "\n   ,  \n', fields=fields)
    assert values(found) == [("A", " x "), ("B", " y ")]
    assert found.rejected == []


def test_unknown_columns_are_extra():
    (row,) = reading("order_id,City,,NULL\nA,Ulm,x,\n").rows
    assert row.extra == {"City": "Ulm", "column_3": "x"}


def test_unknown_columns_may_refuse_the_object():
    found = reading("order_id,City\nA,Ulm", unknown_columns=UnknownColumns.REFUSE)
    assert found == Reading(faults=found.faults)
    assert found.faults == {"unknown-column": 1}
    assert reading("order_id\nA", unknown_columns=UnknownColumns.REFUSE).faults == {}


def test_unknown_columns_are_added_under_their_lowercase_name():
    (row,) = reading(
        "order_id, City \nA, Ulm ", added=("city",), unknown_columns=UnknownColumns.ADD
    ).rows
    assert (row.added, row.extra) == ({"city": "Ulm"}, None)


@pytest.mark.parametrize("name", ["_x", "", "x" * 64, "\u00e9" * 32])
def test_columns_without_a_possible_name_are_kept_in_extra(name: str):
    found = reading(f"order_id,amount,status,{name}\nA,,,1", unknown_columns=UnknownColumns.ADD)
    assert found.faults == {"column-kept-in-extra": 1}
    assert found.rows[0].added is None
    assert found.rows[0].extra == {name or "column_4": "1"}


def test_columns_beyond_the_two_hundredth_are_kept_in_extra():
    added = tuple(f"c{n}" for n in range(200))
    head = "order_id,amount,status"
    found = reading(f"{head},c7,d\nA,,,1,2", added=added, unknown_columns=UnknownColumns.ADD)
    assert (found.rows[0].added, found.rows[0].extra) == ({"c7": "1"}, {"d": "2"})
    assert found.faults == {"column-kept-in-extra": 1}


def test_declared_columns_that_are_absent_may_have_another_name():
    assert reading("order_id\nA").faults == {}
    assert reading("order_id,,\nA,1,2").faults == {}
    assert reading("order_id,Sttaus\nA,new").faults == {"declared-column-absent": 1}
    assert reading("order_id,x,status,amount\nA,,,").faults == {}
    in_path = {"path_columns": "{status}/*", "key": "new/a.csv"}
    assert reading("order_id,x,amount\nA,,", **in_path).faults == {}


def test_rows_without_their_preferred_column_are_a_warning():
    assert reading("order_id\nA", prefer="amount").faults == {"declared-column-absent": 1}
    assert reading("order_id,amount\nA,1", prefer="amount").faults == {}


SHORT = "order_id,amount,status,city\nA,1,new\nB,1\nC\n"


def test_short_rows_lack_only_unknown_cells():
    found = reading(SHORT)
    assert values(found) == [("A", Decimal(1), "new")]
    assert found.rejected == [(3, "short-row"), (4, "short-row")]
    assert found.faults == {"missing-trailing-cells": 1}


def test_short_rows_may_be_padded_up_to_the_last_required_column():
    found = reading(SHORT, short_rows=ShortRows.PAD)
    assert values(found) == [
        ("A", Decimal(1), "new"), ("B", Decimal(1), None), ("C", None, None),
    ]  # fmt: skip
    assert (found.rejected, found.faults) == ([], {"missing-trailing-cells": 1})
    late = reading("amount,order_id,status\n1\n1,A", short_rows=ShortRows.PAD)
    assert late.rejected == [(2, "short-row")]


@pytest.mark.parametrize(("share", "is_refused"), [("1/4", True), ("1/3", False), ("1", False)])
def test_an_object_with_too_many_faulty_rows_is_refused(share: str, *, is_refused: bool):
    found = reading("order_id,amount\nA,1\nB,2\nC,x", refuse_object_above=Fraction(share))
    assert ("too-many-faults" in found.faults) == is_refused
    assert (len(found.rows), found.rows_rejected) == ((0, 3) if is_refused else (2, 1))


SITES = {
    "path_columns": "sensors/{site}/{year}/**",
    "fields": (*ORDERS.fields, Field(name="year", type=FieldType.YEAR)),
}


def test_path_columns_win_over_columns_of_the_file():
    found = reading("order_id,SITE,amount\nA,x,1", "sensors/Ulm/2024/a.csv", **SITES)
    assert values(found) == [("A", Decimal(1), None, 2024, "Ulm")]
    assert found.rows[0].extra is None


def test_path_columns_are_null_if_the_key_does_not_match():
    found = reading("order_id,site\nA,x", "other/a.csv", **SITES)
    assert values(found) == [("A", None, None, None, None)]


def test_a_faulty_path_value_rejects_every_row():
    found = reading("order_id\nA\nB", "sensors/Ulm/24/a.csv", **SITES)
    assert found.rejected == [(2, "not-a-year"), (3, "not-a-year")]


def test_partitions_are_decoded_columns():
    hive: dict[str, Any] = {
        "path_columns": "hive",
        "include": ("**/site=*/year=*/*.csv", "site=*/*.csv"),
        "fields": (*ORDERS.fields, Field(name="year", type=FieldType.YEAR)),
    }
    found = reading("order_id\nA", "x/site=Neu%2FUlm/Year=2024/a.csv", **hive)
    assert values(found) == [("A", None, None, 2024, "Neu/Ulm")]
    found = reading("order_id,year\nA,x", "site=__HIVE_DEFAULT_PARTITION__/a.csv", **hive)
    assert values(found) == [("A", None, None, None, None)]
    found = reading("order_id\nA", "site=%FF/site=%00/a.csv", **hive)
    assert values(found) == [("A", None, None, None, "%00")]


def test_only_birth_times_of_users_may_look_like_seconds():
    fields = (ORDERS.fields[0], Field(name="at", type=FieldType.EPOCH_MS))
    assert reading("order_id,at\nA,612302400", fields=fields).faults == {}


def test_cells_of_indexed_columns_share_an_index_entry():
    long = "x" * 2_680
    assert reading(f"order_id\n{long}").rejected == []
    assert reading(f"order_id\n{long}x").rejected == [(2, "cell-too-long")]
    indexes = (("order_id", "status"),)
    assert reading(f"order_id\n{'x' * 1_337}", indexes=indexes).rejected == [(2, "cell-too-long")]
    assert reading(f"order_id,city\nA,{'x' * 1_048_576}").rejected == []
    assert reading(f"order_id,city\nA,{'x' * 1_048_577}").rejected == [(2, "cell-too-long")]


def test_padded_cells_are_null_even_where_empty_text_is_a_value():
    found = reading("order_id,status\nA", short_rows=ShortRows.PAD, missing_values=("-",))
    assert values(found) == [("A", None, None)]
