"""datasets.toml: what it declares, and every fault in it with its line and remedy."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from etl.model.dataset import (
    USERS,
    Attachment,
    Constraints,
    Dataset,
    Derived,
    DerivedAs,
    Dialect,
    Field,
    FieldType,
    Moment,
    OnRemoved,
    ShortRows,
    UnknownColumns,
)
from etl.model.errors import ConfigurationError
from etl.settings import Settings
from etl.settings.datasets_file import read_datasets
from etl.settings.declared import declared_datasets
from tests.orders_data import DECLARATION

SETTINGS = Settings(_env_file=None)

EXAMPLE = DECLARATION.read_text("utf-8")

ORDERS = Dataset(
    name="orders",
    table="orders",
    include=("orders/**/*.csv", "orders/**/*.csv.gz"),
    exclude=("orders/tmp/**",),
    primary_key=("order_id",),
    prefer="updated_at",
    missing_values=("", "NULL"),
    on_removed=OnRemoved.RETIRE,
    refuse_object_above=Fraction(1, 10),
    unknown_columns=UnknownColumns.EXTRA,
    short_rows=ShortRows.REFUSE,
    indexes=(("user_id",), ("updated_at",)),
    publish=("orders.csv", "orders.parquet"),
    dialect=Dialect(delimiter=";"),
    fields=(
        Field(
            name="order_id",
            aliases=("Order No", "Bestellnummer"),
            constraints=Constraints(required=True, pattern="[A-Z]{2}-[0-9]{6}"),
        ),
        Field(name="user_id", constraints=Constraints(required=True)),
        Field(
            name="amount",
            type=FieldType.NUMBER,
            decimal_char=",",
            group_char=".",
            sql="numeric(12,2)",
            constraints=Constraints(minimum=Decimal(0)),
        ),
        Field(name="status", constraints=Constraints(enum=("new", "paid", "sent", "returned"))),
        Field(
            name="updated_at",
            type=FieldType.DATETIME,
            format="%d.%m.%Y %H:%M:%S",
            timezone="Europe/Berlin",
        ),
    ),
)

MINIMAL = """\
version = 1
[datasets.orders]
include = ["**/*.csv"]
{dataset}
[datasets.orders.schema]
{schema}
fields = [
  {{ name = "id", type = "string" }},
{fields}]
{more}
"""
READINGS = Dataset(
    name="readings",
    table="readings",
    include=("sensors/*/*.parquet", "sensors/**/*.{ndjson,ndjson.zst}"),
    path_columns="sensors/{site}/**",
    unknown_columns=UnknownColumns.ADD,
    fields=(
        Field(name="sensor", constraints=Constraints(required=True)),
        Field(name="measured_at", type=FieldType.DATETIME, constraints=Constraints(required=True)),
        Field(name="celsius", type=FieldType.NUMBER, sql="double precision"),
    ),
)


def written(dataset: str = "", schema: str = "", fields: str = "", more: str = "") -> str:
    """A file with one dataset that has a field, and what else is given."""
    return MINIMAL.format(dataset=dataset, schema=schema, fields=fields, more=more)


def parse(tmp_path: Path, text: str) -> tuple[Dataset, ...]:
    path = tmp_path / "datasets.toml"
    path.write_text(text, "utf-8")
    return read_datasets(path, SETTINGS)


def orders(tmp_path: Path, text: str) -> Dataset:
    return next(one for one in parse(tmp_path, text) if one.name == "orders")


def faults(tmp_path: Path, text: str) -> list[str]:
    """The sentences of all faults, without the folder of the file."""
    with pytest.raises(ConfigurationError) as caught:
        parse(tmp_path, text)
    found = caught.value.message.replace(f"{tmp_path}/", "").split("\n")
    assert all(line.endswith((".", "?")) for line in found)
    if len(found) > 1:
        assert found.pop(0) == f"datasets.toml has {len(found)} faults."
    return found


def test_the_example_of_the_contract_declares_users_orders_and_readings(tmp_path: Path):
    assert parse(tmp_path, EXAMPLE) == (USERS, ORDERS, READINGS)


def test_a_minimal_dataset_has_defaults(tmp_path: Path):
    assert parse(tmp_path, written()) == (
        Dataset(name="orders", table="orders", include=("**/*.csv",), fields=(Field(name="id"),)),
    )


def test_every_key_has_its_effect(tmp_path: Path):
    text = """\
version = 1
[datasets.people]
include = ["data/year=*/**/*.{csv,txt}"]
bucket = "people-data"
table = "persons"
format = "csv"
paused = true
on_removed = "delete"
refuse_object_above = "0.5 %"
unknown_columns = "add"
short_rows = "pad"
path_columns = "hive"
indexes = [["year", "born"], ["born_on"], ["face"]]
dialect = { delimiter = "\\t", quoteChar = "'", header = true, lineTerminator = "\\r\\n" }
schema.primaryKey = "id"
schema.missingValues = [{ value = "-99", label = "unknown" }, "", "-99"]

[[datasets.people.schema.fields]]
name = "id"
type = "string"
trim = false
title = "Id"
description = "Of the person"
example = "1"
rdfType = "x:y"
sql = "VARCHAR(20)"
missingValues = []
constraints = { minLength = 1, maxLength = 20, unique = false }
[[datasets.people.schema.fields]]
name = "born"
type = "epoch-ms"
format = "default"
constraints = { minimum = 1900-01-01, maximum = "today" }
[[datasets.people.schema.fields]]
name = "is_member"
type = "boolean"
trueValues = ["yes"]
falseValues = ["no", "never"]

[[datasets.people.derived]]
name = "born_on"
from = "born"
as = "date"

[[datasets.people.derived]]
name = "age"
from = "born"
as = "age"

[[datasets.people.attachments]]
column = "face"
match = "faces/**/{id}.{png,JPG}"
"""
    assert parse(tmp_path, text) == (
        Dataset(
            name="people",
            table="persons",
            bucket="people-data",
            format="csv",
            include=("data/year=*/**/*.{csv,txt}",),
            is_paused=True,
            on_removed=OnRemoved.DELETE,
            refuse_object_above=Fraction(1, 200),
            unknown_columns=UnknownColumns.ADD,
            short_rows=ShortRows.PAD,
            path_columns="hive",
            indexes=(("year", "born"), ("born_on",), ("face",)),
            dialect=Dialect(delimiter="\t", quote_char="'"),
            primary_key=("id",),
            missing_values=("-99", ""),
            fields=(
                Field(
                    name="id",
                    trim=False,
                    title="Id",
                    description="Of the person",
                    sql="VARCHAR(20)",
                    missing_values=(),
                    constraints=Constraints(required=True, min_length=1, max_length=20),
                ),
                Field(
                    name="born",
                    type=FieldType.EPOCH_MS,
                    constraints=Constraints(minimum=date(1900, 1, 1), maximum=Moment.TODAY),
                ),
                Field(
                    name="is_member",
                    type=FieldType.BOOLEAN,
                    true_values=("yes",),
                    false_values=("no", "never"),
                ),
            ),
            derived=(
                Derived(name="born_on", source="born", computed_as=DerivedAs.DATE),
                Derived(name="age", source="born", computed_as=DerivedAs.AGE),
            ),
            attachments=(Attachment(column="face", match="faces/**/{id}.{png,JPG}"),),
        ),
    )


@pytest.mark.parametrize(
    ("rest", "bound"),
    [
        ('"integer", constraints = { minimum = -5 }', -5),
        ('"integer", constraints = { minimum = "+5" }', 5),
        ('"number", constraints = { minimum = 0.1 }', Decimal("0.1")),
        ('"number", constraints = { minimum = 1 }', Decimal(1)),
        ('"number", constraints = { minimum = "1e3" }', Decimal(1000)),
        ('"date", constraints = { minimum = 2026-03-27 }', date(2026, 3, 27)),
        ('"date", constraints = { minimum = "2026-03-27" }', date(2026, 3, 27)),
        (
            '"date", format = "%d.%m.%Y", constraints = { minimum = "27.03.2026" }',
            date(2026, 3, 27),
        ),
        ('"time", constraints = { minimum = 18:30:00 }', time(18, 30)),
        ('"time", constraints = { minimum = "18:30" }', time(18, 30)),
        ('"year", constraints = { minimum = 1900 }', 1900),
        ('"year", constraints = { minimum = "1900" }', 1900),
        (
            '"datetime", constraints = { minimum = 2026-03-27T18:30:00+02:00 }',
            datetime(2026, 3, 27, 16, 30, tzinfo=UTC),
        ),
        (
            '"datetime", constraints = { minimum = "2026-03-27T18:30:00Z" }',
            datetime(2026, 3, 27, 18, 30, tzinfo=UTC),
        ),
        (
            '"datetime", timezone = "Asia/Tokyo", constraints = { minimum = 2026-03-27 18:30:00 }',
            datetime(2026, 3, 27, 9, 30, tzinfo=UTC),
        ),
        ('"epoch-ms", constraints = { minimum = "1900-01-01" }', date(1900, 1, 1)),
    ],
)
def test_bounds_have_the_type_of_the_field(tmp_path: Path, rest: str, bound: object):
    found = orders(tmp_path, written(fields=f'{{ name = "x", type = {rest} }}'))
    minimum = found.field("x").constraints.minimum
    assert minimum == bound
    assert type(minimum) is type(bound)


@pytest.mark.parametrize("format_", ["", 'format = "json"\n'])
def test_property_names_the_member_of_json_files(tmp_path: Path, format_: str):
    dialect = 'dialect = { property = "a b", itemType = "object" }'
    one = orders(tmp_path, written(f"{format_}{dialect}"))
    assert one.dialect == Dialect(member="a b")


def test_presets_accept_some_keys(tmp_path: Path):
    text = """\
version = 1
[datasets.users]
preset = "users"
include = ["crm/**/*.csv"]
exclude = ["crm/old/**"]
bucket = "crm-data"
paused = true
on_removed = "delete"
refuse_object_above = "50%"
indexes = [["last_name", "birthdate"]]
publish = ["output.parquet"]
"""
    assert parse(tmp_path, text) == (
        replace(
            USERS,
            include=("crm/**/*.csv",),
            exclude=("crm/old/**",),
            bucket="crm-data",
            is_paused=True,
            on_removed=OnRemoved.DELETE,
            refuse_object_above=Fraction(1, 2),
            indexes=(("last_name", "birthdate"),),
            publish=("output.parquet",),
        ),
    )


def test_a_byte_order_mark_and_windows_line_endings_are_accepted(tmp_path: Path):
    (tmp_path / "datasets.toml").write_bytes(
        b"\xef\xbb\xbf" + EXAMPLE.replace("\n", "\r\n").encode()
    )
    assert read_datasets(tmp_path / "datasets.toml", SETTINGS) == (USERS, ORDERS, READINGS)


# -- the file as a whole


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version = 1\nx = [\n", "datasets.toml"),
        ("version = 1\n\n[datasets.a\n", "datasets.toml, line 3: not valid TOML in column 12"),
        ("version = 1\nversion = 1\n", "datasets.toml, line 2: not valid TOML in column 12"),
        ("x = " + "[" * 5_000, "datasets.toml: The file is nested too deeply."),
        ("x = " + "1" * 5_000, "datasets.toml: not valid TOML"),
    ],
)
def test_broken_toml_is_reported_with_its_line(tmp_path: Path, text: str, expected: str):
    with pytest.raises(ConfigurationError) as caught:
        parse(tmp_path, text)
    assert caught.value.message.replace(f"{tmp_path}/", "").startswith(expected)
    assert caught.value.hint


def test_a_file_in_another_encoding_is_reported_with_its_line(tmp_path: Path):
    (tmp_path / "datasets.toml").write_bytes("version = 1\n# Grüße\n".encode("cp1252"))
    with pytest.raises(ConfigurationError, match=r"datasets.toml, line 2: not UTF-8"):
        read_datasets(tmp_path / "datasets.toml", SETTINGS)


def test_a_file_that_cannot_be_read_is_named_with_the_setting(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"datasets\.toml") as caught:
        read_datasets(tmp_path / "datasets.toml", SETTINGS)
    assert "DATASETS_FILE" in caught.value.hint
    with pytest.raises(ConfigurationError):
        read_datasets(tmp_path, SETTINGS)


def test_without_a_file_only_users_is_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert declared_datasets(SETTINGS) == (USERS,)
    (tmp_path / "datasets.toml").write_text(written())
    assert [one.name for one in declared_datasets(SETTINGS)] == ["orders"]
    other = tmp_path / "other.toml"
    other.write_text(EXAMPLE)
    settings = Settings(_env_file=None, datasets_file=other)
    assert declared_datasets(settings) == (USERS, ORDERS, READINGS)
    other.unlink()
    with pytest.raises(ConfigurationError, match=r"other\.toml"):
        declared_datasets(settings)


def test_a_broken_link_is_not_taken_for_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets.toml").symlink_to(tmp_path / "none")
    with pytest.raises(ConfigurationError, match=r"datasets\.toml"):
        declared_datasets(SETTINGS)


def test_a_declaration_without_patterns_does_not_load_arrow(tmp_path: Path):
    (tmp_path / "datasets.toml").write_text(written())
    code = (
        "import sys; from etl.settings import Settings;"
        "from etl.settings.declared import declared_datasets;"
        "assert declared_datasets(Settings(_env_file=None));"
        "assert not {'pyarrow', 'pandas', 'numpy', 'sqlalchemy'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
    )


def test_a_misspelled_key_is_one_fault(tmp_path: Path):
    text = """
    version = 1
    [datasets.orders]
    include = ["orders/**"]
    [datasets.orders.schema]
    fields = [{ name = "amount", type = "number", decimalChr = ",", groupChar = "." }]
    """
    (fault,) = faults(tmp_path, text)
    assert fault.endswith("decimalChr is not a key of this table. Did you mean decimalChar?")


def test_all_faults_are_reported_at_once(tmp_path: Path):
    text = """\
version = 1
[datasets.orders]
includes = ["a.csv"]
prefer = "update_at"

[datasets.orders.schema]
primaryKey = ["order"]
fields = [
  { name = "order_id", type = "text" },
]
[datasets.other]
"""
    assert faults(tmp_path, text) == [
        (
            "datasets.toml, line 3, datasets.orders.includes: includes is not a key of this table."
            " Did you mean include?"
        ),
        (
            "datasets.toml, line 9, datasets.orders.schema.fields[0].type: 'text' is not a"
            " supported type. Use string, integer, number, boolean, date, time, datetime, year,"
            " object, array, any, epoch-ms."
        ),
        (
            "datasets.toml, line 11, datasets.other.include: include is missing."
            ' Write include = ["orders/**/*.csv"].'
        ),
        (
            "datasets.toml, line 11, datasets.other.schema: schema is missing."
            ' Write schema = "schemas/orders.json".'
        ),
    ]


ID_KEY = 'primaryKey = ["id"]'


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("", "line 1, version", "missing"),
        ("version = 1\n", "line 1, datasets", "missing"),
        ("version = 1\ndatasets = {}", "line 2, datasets", "declares no dataset"),
        ("version = 1\ndatasets = []", "line 2, datasets", "must be a table"),
        ("version = 1\ndatasets.a = 1", "line 2, datasets.a", "not a table"),
        (written().replace("version = 1", "version = 2"), "line 1, version", "not supported"),
        (written().replace("version = 1", "version = true"), "line 1, version", "whole number"),
        (written().replace("version", "versoin"), "line 1, versoin", "Did you mean version?"),
        # names
        (written().replace(".orders", ".object"), "line 2, datasets.object", "staging_object"),
        (written().replace(".orders", ".users"), "line 2, datasets.users", 'preset = "users"'),
        (written().replace(".orders", '."my orders"'), 'line 2, datasets."my orders"', "name of a"),
        (written().replace(".orders", "._x"), "line 2, datasets._x", "name of a dataset"),
        (written(more=written().replace("version = 1", "").replace("orders", "ORDERS")),
         "line 11, datasets.ORDERS", "only in case"),
        (written('table = "a b"'), "line 4, @table", "name of a table"),
        (written('table = "users"'), "line 4, @table", "belongs to the dataset users"),
        (written('table = "Users_shadowed"'), "line 4, @table", "dataset users"),
        (written(more='[datasets.b]\ninclude = ["b"]\ntable = "orders_retired"\n'
                      'schema.fields = [{ name = "a", type = "any" }]'),
         "line 12, datasets.b.table", "belongs to the dataset orders"),
        (written('table = "%s"' % ("x" * 49)), "line 4, @table", "1 to 48 letters"),
        # patterns
        (written('exclude = ["a", "b**"]'), "line 4, @exclude[1]", "**"),
        (written('exclude = "a"'), "line 4, @exclude", "must be a list of texts"),
        (written('exclude = ["{a}/b"]'), "line 4, @exclude[0]", "placeholder"),
        (written().replace('["**/*.csv"]', "[]"), "line 3, @include", "empty"),
        (written('format = "dbf"'), "line 4, @format", "not a format"),
        (written("sheet = 0"), "line 4, @sheet", "The first one is 1."),
        (written('sheet = " "'), "line 4, @sheet", "blank"),
        (written("sheet = true"), "line 4, @sheet", "a text or a whole number"),
        (written("dialect = { headerRows = [1, 2] }"), "line 4, @dialect.headerRows", "one number"),
        (written("dialect = { headerRows = [0] }"), "line 4, @dialect.headerRows", "[0]"),
        (written("dialect = { headerRows = [true] }"), "line 4, @dialect.headerRows", "numbers"),
        (written('dialect = { property = "" }'), "line 4, @dialect.property", "data"),
        (written("dialect = { property = ['a'] }"), "line 4, @dialect.property", "a text"),
        (written('dialect = { property = "\\u0000" }'), "line 4, @dialect.property", "a name"),
        (written('format = "ndjson"\ndialect.property = "a"'), "line 5, @dialect.property", "json"),
        (written('dialect = { itemType = "array" }'), "line 4, @dialect.itemType", "as an object"),
        (written('dialect = { itemKeys = ["a"] }'), "line 4, @dialect.itemKeys", "aliases"),
        (written("dialect = { sheetNumber = 2 }"), "line 4, @dialect.sheetNumber", "Use sheet"),
        # the rest of a dataset
        (written('bucket = "thumbnails"'), "line 4, @bucket", "THUMBNAIL_BUCKET"),
        (written('bucket = "processed-data"'), "line 4, @bucket", "PROCESSED_BUCKET"),
        (written('bucket = "analytics-data"'), "line 4, @bucket", "DOCUMENT_BUCKET"),
        (written('bucket = "Ab"'), "line 4, @bucket", "3 to 63"),
        (written('bucket = ""'), "line 4, @bucket", "3 to 63"),
        (written('on_removed = "retired"'), "line 4, @on_removed", "retire?"),
        (written('unknown_columns = "x"'), "line 4, @unknown_columns", "extra or add"),
        (written('short_rows = "x"'), "line 4, @short_rows", "refuse or pad"),
        (written('paused = "yes"'), "line 4, @paused", "true or false"),
        (written("refuse_object_above = 0.1"), "line 4, @refuse_object_above", '"10%"'),
        (written('refuse_object_above = "101%"'), "line 4, @refuse_object_above", "0%"),
        (written('refuse_object_above = "0.1"'), "line 4, @refuse_object_above", "0%"),
        (written('path_columns = ["hive", "a/{b}"]'), "line 4, @path_columns", "a text"),
        (written('path_columns = "hive"'), "line 4, @path_columns", "year=*"),
        (written('path_columns = "a/**"'), "line 4, @path_columns", "no placeholder"),
        (written('path_columns = "{a}{b}"'), "line 4, @path_columns", "next to"),
        (written('path_columns = "{ID}/**"'), "line 4, @path_columns", "same column"),
        (written('path_columns = "{xmin}/**"'), "line 4, @path_columns", "PostgreSQL"),
        (written('indexes = ["id"]'), "line 4, @indexes", "list of lists"),
        (written('indexes = [["id"], ["ids"]]'), "line 4, @indexes[1][0]", "mean id?"),
        (written('indexes = [["id"], ["id"]]'), "line 4, @indexes[1]", "twice"),
        (written('indexes = [["id", "id"]]'), "line 4, @indexes[0]", "different"),
        (written("indexes = [[]]"), "line 4, @indexes[0]", "1 to 32"),
        (written('publish = ["a.xml"]'), "line 4, @publish[0]", "CSV nor Parquet"),
        (written('publish = ["/a.csv"]'), "line 4, @publish[0]", "name of a published"),
        (written('publish = ["a.csv", "a.csv"]'), "line 4, @publish[1]", "orders"),
        (written('publish = ["Output.csv"]'), "line 4, @publish[0]", "dataset users"),
        (written('dialect = { delimiter = ";;" }'), "line 4, @dialect.delimiter", "one"),
        (written('dialect = { delimiter = \'"\' }'), "line 4, @dialect.delimiter", "same"),
        (written('dialect = { quoteChar = "" }'), "line 4, @dialect.quoteChar", "one"),
        (written('format = "tsv"\ndialect.delimiter = ";"'), "line 5, @dialect.delimiter", "tsv"),
        (written("dialect = { header = false }"), "line 4, @dialect.header", "header"),
        (written('dialect = { commentChar = "#" }'), "line 4, @dialect.commentChar", ""),
        (written('prefer = "id"'), "line 4, @prefer", "no primaryKey"),
        (written('prefer = "x"', ID_KEY), "line 4, @prefer", "no field named 'x'"),
        (written('prefer = "b"', ID_KEY, '{ name = "b", type = "boolean" },'),
         "line 4, @prefer", "true or false"),
        # schema
        (written(schema='primaryKey = "x"'), "line 6, @schema.primaryKey", "no field"),
        (written(schema='primaryKey = ["id", "x"]'), "line 6, @schema.primaryKey[1]", ""),
        (written(schema='primaryKey = ["id", "id"]'), "line 6, @schema.primaryKey", "tw"),
        (written(schema='primaryKey = "j"', fields='{ name = "j", type = "object" },'),
         "line 6, @schema.primaryKey", "no order"),
        (written(schema='primary_key = "id"'), "line 6, @schema.primary_key",
         "Did you mean primaryKey?"),
        (written(schema="foreignKeys = [{}]"), "line 6, @schema.foreignKeys", "support"),
        (written(schema='uniqueKeys = [["id"]]'), "line 6, @schema.uniqueKeys", "prim"),
        (written(schema='fieldsMatch = "equal"'), "line 6, @schema.fieldsMatch", "supp"),
        (written(schema="missingValues = [1]"), "line 6, @schema.missingValues", "texts"),
        (written().replace('{ name = "id", type = "string" },', ""),
         "line 7, @schema.fields", "empty"),
        # derived columns and attachments
        (written('derived = [{ name = "d", from = "id", as = "date" }]'),
         "line 4, @derived[0].from", "type string"),
        (written('derived = [{ name = "d", from = "x", as = "age" }]'),
         "line 4, @derived[0].from", "no field named 'x'"),
        (written('derived = [{ name = "d", from = "id", as = "month" }]'),
         "line 4, @derived[0].as", "date or age"),
        (written("derived = [{}]"), "line 4, @derived[0].name", "missing"),
        (written('derived = [{ name = "Id", from = "b", as = "age" }]',
                 fields='{ name = "b", type = "epoch-ms" },'),
         "line 4, @derived", "same column"),
        (written('attachments = [{ column = "_a", match = "{id}.png" }]'),
         "line 4, @attachments[0].column", "begins with _"),
        (written('attachments = [{ column = "a", match = "{id}.pdf" }]'),
         "line 4, @attachments[0].match", "not images"),
        (written('attachments = [{ column = "a", match = "*.png" }]'),
         "line 4, @attachments[0].match", "0 placeholders"),
        (written('attachments = [{ column = "a", match = "{ids}.png" }]'),
         "line 4, @attachments[0].match", "Did you mean id?"),
        (written('attachments = [{ column = "a", match = "{n}.png" }]',
                 fields='{ name = "n", type = "integer" },'),
         "line 4, @attachments[0].match", "type integer"),
        # presets
        ('version = 1\n[datasets.users]\npreset = "user"', "line 3, datasets.users.preset", ""),
        ('version = 1\n[datasets.a]\npreset = "users"', "line 3, datasets.a.preset", ".users"),
        ('version = 1\n[datasets.users]\npreset = "users"\ntable = "a"',
         "line 4, datasets.users.table", "preset decides"),
        ('version = 1\n[datasets.users]\npreset = "users"\npublish = ["a.csv"]',
         "line 4, datasets.users.publish[0]", "output.csv"),
        ('version = 1\n[datasets.users]\npreset = "users"\nindexes = [["age"]]',
         "line 4, datasets.users.indexes[0][0]", "no field named 'age'"),
    ],
)  # fmt: skip
def test_a_fault_is_reported_with_line_key_and_remedy(
    tmp_path: Path, text: str, place: str, said: str
):
    found = faults(tmp_path, text)
    start = f"datasets.toml, {place.replace('@', 'datasets.orders.')}: "
    fault = next((one for one in found if one.startswith(start)), "")
    assert fault, found
    assert said in fault


@pytest.mark.parametrize(
    ("field", "key", "said"),
    [
        ('name = "x"', "type", "type is missing"),
        ('type = "string"', "name", "name is missing"),
        ('name = "Order No", type = "string"', "name", "aliases"),
        ('name = "_x", type = "string"', "name", "begins with _"),
        ('name = "ctid", type = "string"', "name", "PostgreSQL"),
        ('name = "ID", type = "string"', "name", "same column as 'id'"),
        ('name = "id", type = "string"', "name", "same column as 'id'"),
        ('name = "x", type = "string", aliases = [" Id "]', "aliases[0]", "same column"),
        ('name = "x", type = "string", aliases = ["y", "Y"]', "aliases[1]", "same column"),
        ('name = "x", type = "string", aliases = [" "]', "aliases[0]", "blank"),
        ('name = "x", type = "strng"', "type", "Did you mean string?"),
        ('name = "x", type = "geopoint"', "type", "two numbers"),
        ('name = "x", type = "list", itemType = "integer"', "itemType", "not supported"),
        ('name = "x", type = "string", alias = ["y"]', "alias", "Did you mean aliases?"),
        ('name = "x", type = "string", format = "email"', "format", "pattern"),
        ('name = "x", type = "integer", format = "%Y"', "format", "not supported"),
        ('name = "x", type = "date", format = "any"', "format", "ambiguous"),
        ('name = "x", type = "date", format = "%Y"', "format", "cannot be used"),
        ('name = "x", type = "date", timezone = "UTC"', "timezone", "It is for datetime"),
        ('name = "x", type = "datetime", timezone = "Europe/Berln"', "timezone", "Europe/Berlin?"),
        ('name = "x", type = "datetime", timezone = "America"', "timezone", "not a time zone"),
        ('name = "x", type = "datetime", timezone = "../x"', "timezone", "not a time zone"),
        ('name = "x", type = "string", sql = "integer"', "sql", "not supported"),
        ('name = "x", type = "number", sql = "money"', "sql", "double precision"),
        ('name = "x", type = "integer", decimalChar = ","', "decimalChar", "It is for number"),
        ('name = "x", type = "number", groupChar = "."', "groupChar", "both groups and decimals"),
        ('name = "x", type = "number", decimalChar = ""', "decimalChar", "one character"),
        ('name = "x", type = "number", groupChar = "5"', "groupChar", "one character"),
        ('name = "x", type = "number", bareNumber = false', "bareNumber", "not supported"),
        ('name = "x", type = "string", trueValues = ["y"]', "trueValues", "It is for boolean"),
        ('name = "x", type = "boolean", trueValues = ["0"]', "trueValues", "both true and false"),
        ('name = "x", type = "boolean", falseValues = []', "falseValues", "empty"),
        ('name = "x", type = "string", categories = ["a"]', "categories", "enum"),
        ('name = "x", type = "string", trim = 0', "trim", "true or false"),
        ('name = "x", type = "string", missingValues = "-"', "missingValues", "list of texts"),
    ],
)
def test_a_faulty_field_is_reported(tmp_path: Path, field: str, key: str, said: str):
    found = faults(tmp_path, written(fields=f"  {{ {field} }},\n"))
    place = f"datasets.toml, line 9, datasets.orders.schema.fields[1].{key}: "
    fault = next((one for one in found if one.startswith(place)), "")
    assert fault, found
    assert said in fault


def test_groups_of_integers_may_be_separated_by_any_character(tmp_path: Path):
    """An integer has no decimals, so "." cannot separate them."""
    field = '{ name = "x", type = "integer", groupChar = "." }'
    found = orders(tmp_path, written(fields=f"  {field},\n"))
    assert [one.group_char for one in found.fields if one.name == "x"] == ["."]


@pytest.mark.parametrize(
    ("type_", "constraint", "key", "said"),
    [
        ("string", "unique = true", "unique", "primaryKey"),
        ("string", "jsonSchema = {}", "jsonSchema", "not supported"),
        ("string", "minimum = 1", "minimum", "does not apply"),
        ("integer", "minLength = 1", "minLength", "does not apply"),
        ("integer", 'pattern = "1"', "pattern", "does not apply"),
        ("object", 'enum = ["a"]', "enum", "does not apply"),
        ("string", "minLength = -1", "minLength", "negative"),
        ("string", "minLength = 2, maxLength = 1", "minLength", "No value satisfies"),
        ("integer", "minimum = 1.5", "minimum", "whole number"),
        ("integer", "minimum = true", "minimum", "whole number"),
        ("integer", "minimum = 2, maximum = 1", "minimum", "No value satisfies"),
        ("integer", "exclusiveMinimum = 1, maximum = 1", "exclusiveMinimum", "No value"),
        ("number", "maximum = nan", "maximum", "number"),
        ("number", "maximum = inf", "maximum", "number"),
        ("number", 'maximum = "x"', "maximum", "number"),
        ("date", "minimum = 2026-03-27T00:00:00Z", "minimum", "2026-03-27"),
        ("date", 'minimum = "2026-02-30"', "minimum", "2026-03-27"),
        ("date", 'maximum = "today"', "maximum", "2026-03-27"),
        ("time", 'minimum = "18"', "minimum", "18:30:00"),
        ("time", 'minimum = "18:30:00+02:00"', "minimum", "18:30:00"),
        ("datetime", "minimum = 2026-03-27", "minimum", "T18:30:00Z"),
        ("year", "minimum = 0", "minimum", "2026"),
        ("epoch-ms", 'minimum = "today"', "minimum", "1900-01-01"),
        ("epoch-ms", "minimum = 0", "minimum", "1900-01-01"),
        ("string", "enum = []", "enum", "every value would be rejected"),
        ("string", 'enum = ["a", 1]', "enum[1]", "a text"),
        ("string", "enum = [[1]]", "enum[0]", "a text"),
        ("string", 'enum = "a"', "enum", "must be a list"),
        ("string", 'pattern = "(?=a)"', "pattern", "RE2"),
        ("string", 'pattern = "("', "pattern", "RE2"),
        ("string", "pattern = 1", "pattern", "must be a text"),
        ("string", 'required = "yes"', "required", "true or false"),
        ("string", "require = true", "require", "Did you mean required?"),
    ],
)
def test_a_faulty_constraint_is_reported(
    tmp_path: Path, type_: str, constraint: str, key: str, said: str
):
    field = f'  {{ name = "x", type = "{type_}", constraints = {{ {constraint} }} }},\n'
    place = f"datasets.toml, line 9, datasets.orders.schema.fields[1].constraints.{key}: "
    found = faults(tmp_path, written(fields=field))
    assert len(found) == 1
    assert found[0].startswith(place)
    assert said in found[0]


def test_names_are_shown_on_one_line(tmp_path: Path):
    found = faults(tmp_path, written('"a\\n\\u001b" = 1'))
    assert len(found) == 1
    assert found[0].startswith(
        r'datasets.toml, line 4, datasets.orders."a\n\u001b": "a\n\u001b" is not a key'
    )


def test_a_dataset_has_a_limited_number_of_columns(tmp_path: Path):
    fields = "".join(
        f'{{ name = "c{n}", type = "string", aliases = ["x{n}"] }},' for n in range(999)
    )
    assert len(orders(tmp_path, written(fields=fields)).fields) == 1_000
    (fault,) = faults(tmp_path, written('path_columns = "{p}/**"', fields=fields))
    assert "more than 1,000 columns" in fault


def test_a_faulty_field_does_not_make_its_name_unknown(tmp_path: Path):
    found = faults(tmp_path, written('prefer = "x"', ID_KEY, '{ name = "x", type = "txt" },'))
    assert len(found) == 1


def test_an_undeclared_path_column_may_be_part_of_the_key(tmp_path: Path):
    found = orders(
        tmp_path,
        written(
            'path_columns = "{Country}/**"\nprefer = "Country"', 'primaryKey = ["Country", "id"]'
        ),
    )
    assert found.primary_key == ("Country", "id")
    assert found.prefer == "Country"
    assert found.field("id").constraints.required


def test_a_declared_path_column_has_its_type(tmp_path: Path):
    field = '{ name = "year", type = "year" },'
    found = orders(tmp_path, written('path_columns = "{year}/**"', fields=field))
    assert found.field("year").type is FieldType.YEAR


# -- schemas in JSON

DESCRIBED = {
    "name": "orders",
    "type": "table",
    "path": "orders.csv",
    "scheme": "file",
    "format": "csv",
    "mediatype": "text/csv",
    "encoding": "utf-8",
    "schema": {
        "fields": [
            {"name": "id", "type": "integer", "title": "Number", "rdfType": "x:y", "example": 1},
            {"name": "price", "type": "number", "constraints": {"minimum": 0.1}},
            {"name": "day", "type": "date", "format": "default", "description": "of delivery"},
        ],
        "missingValues": ["", "-"],
    },
}
BY_FILE = """\
version = 1
[datasets.orders]
include = ["**/*.csv"]
schema = "schemas/orders.json"
"""


def with_schema(tmp_path: Path, text: str) -> str:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "orders.json").write_text(text, "utf-8")
    return BY_FILE


@pytest.mark.parametrize("described", [DESCRIBED, DESCRIBED["schema"]])
def test_the_output_of_frictionless_describe_is_a_schema(tmp_path: Path, described: object):
    found = orders(tmp_path, with_schema(tmp_path, json.dumps(described)))
    assert found.missing_values == ("", "-")
    assert found.fields == (
        Field(name="id", type=FieldType.INTEGER, title="Number"),
        Field(
            name="price",
            type=FieldType.NUMBER,
            constraints=Constraints(minimum=Decimal("0.1")),
        ),
        Field(name="day", type=FieldType.DATE, description="of delivery"),
    )


def test_faults_in_a_json_schema_have_their_line_in_it(tmp_path: Path):
    text = with_schema(
        tmp_path,
        '{"fields": [\n {"name": "id", "type": "string",\n  "constraints": {"unique": true}},\n'
        ' {"name": "a", "type": null}],\n "primaryKey": "b"}',
    )
    assert faults(tmp_path, f'{text}prefer = 1\npublish = "x"\n') == [
        (
            "datasets.toml, line 5, datasets.orders.prefer: prefer must be a text, not a whole"
            ' number. Write prefer = "updated_at".'
        ),
        (
            "datasets.toml, line 6, datasets.orders.publish: publish must be a list of texts, not a"
            ' text. Write publish = ["orders.csv"].'
        ),
        (
            "schemas/orders.json, line 3, fields[0].constraints.unique: unique is not supported."
            " Use primaryKey of the schema."
        ),
        (
            "schemas/orders.json, line 4, fields[1].type: type must be a text, not null."
            ' Write type = "string".'
        ),
    ]


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("{", "line 1: ", "not valid JSON"),
        ("[1,\n}", "line 2: ", "not valid JSON in column 1"),
        ("[]", "line 1: ", "no Table Schema"),
        ('{"resources": []}', "line 1: ", "no Table Schema"),
        ('{"resources": [{"name": "a",\n"schema": "b.json"}]}', "line 1, ", "no Table Schema"),
        ('{\n"resources": [{"schema": {}}, {}]}', "line 2, resources: ", "2 resources"),
        ('{"fields": [],\n "fields": []}', "line 2, fields: ", "occurs twice"),
        ('{"fields": [{"a": 1,\n "a": 2}]}', "line 2, fields[0].a: ", "occurs twice"),
        ("[" * 100_000, "line 1: ", "not valid JSON"),
    ],
)
def test_a_file_that_is_not_a_schema_is_reported(tmp_path: Path, text: str, at: str, said: str):
    found = faults(tmp_path, with_schema(tmp_path, text))
    assert len(found) == 1
    assert found[0].startswith(f"schemas/orders.json, {at}")
    assert said in found[0]


PACKAGE = {"resources": [DESCRIBED]}
WITH_STATS = DESCRIBED | {"hash": "sha256:05c5", "bytes": 156, "fields": 3, "rows": 2}


@pytest.mark.parametrize("described", [PACKAGE, WITH_STATS, {"resources": [WITH_STATS]}])
def test_packages_and_statistics_of_frictionless_are_read(tmp_path: Path, described: object):
    found = orders(tmp_path, with_schema(tmp_path, json.dumps(described)))
    assert found.field_names == ("id", "price", "day")


def test_a_fault_in_a_package_has_its_path(tmp_path: Path):
    text = '{"resources": [{"schema":\n{"fields":\n[{"name": "a"}]}}]}'
    (found,) = faults(tmp_path, with_schema(tmp_path, text))
    assert found == (
        "schemas/orders.json, line 3, resources[0].schema.fields[0].type: type is missing."
        ' Write type = "string".'
    )


def test_names_in_a_json_schema_become_columns_and_aliases(tmp_path: Path):
    schema = {
        "fields": [
            {"name": "Order No", "type": "string"},
            {"name": "_id", "type": "string", "aliases": ["Nr."]},
            {"name": "placedOn", "type": "date"},
        ],
        "primaryKey": ["Order No", "_id"],
    }
    found = orders(tmp_path, with_schema(tmp_path, json.dumps(schema)))
    assert [(one.name, one.aliases) for one in found.fields] == [
        ("order_no", ("Order No",)),
        ("id", ("_id", "Nr.")),
        ("placedOn", ()),
    ]
    assert found.primary_key == ("order_no", "id")


def test_names_in_a_json_schema_that_become_the_same_are_reported(tmp_path: Path):
    text = json.dumps(
        {"fields": [{"name": name, "type": "string"} for name in ("Order No", "Order-No")]},
        indent=1,
    )
    (found,) = faults(tmp_path, with_schema(tmp_path, text))
    assert found.startswith("schemas/orders.json, line 8, fields[1].name: 'order_no' is the same")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("schemas/none.json", "cannot be read"),
        ("schemas", "cannot be read"),
        ("../orders.json", "outside"),
        ("/etc/passwd", "outside"),
        ("link.json", "outside"),
        ("binary.json", "not UTF-8"),
        ("a\\u0000b", "cannot be read"),
    ],
)
def test_a_schema_must_be_a_file_in_the_folder(tmp_path: Path, name: str, said: str):
    folder = tmp_path / "config"
    (folder / "schemas").mkdir(parents=True)
    (tmp_path / "orders.json").write_text(json.dumps(DESCRIBED))
    (folder / "link.json").symlink_to(tmp_path / "orders.json")
    (folder / "binary.json").write_bytes(b"\xff")
    found = faults(folder, BY_FILE.replace("schemas/orders.json", name))
    assert len(found) == 1
    assert said in found[0]
