"""Lines to copy that read the rows of a page with other tools."""

from __future__ import annotations

import json

from api.security.auth import is_open
from api.state.services import services
from etl.db.engine import schemas_of

_KEY = '{"Authorization": "Bearer KEY"}'
_POLARS = """\
import polars as pl
from urllib.request import {names}
pl.read_parquet({opened}.read())"""
_DUCKDB = """\
import duckdb, pyarrow
from urllib.request import {names}
rows = pyarrow.ipc.open_stream({opened})
duckdb.sql("SELECT * FROM rows")"""


def copied_lines(url: str, table: str) -> list[tuple[str, str]]:
    """The tools and their lines; `url` has the filters of the rows, but no format.

    The rows of SQL are all those of the table. Where keys are required, KEY stands for one.
    """
    joint = "&" if "?" in url else "?"
    parquet, arrow = (json.dumps(f"{url}{joint}format={one}") for one in ("parquet", "arrow"))
    headers, names, options = "", "urlopen", ""
    if not is_open():
        names, headers, options = (
            "Request, urlopen",
            f", headers={_KEY}",
            f", storage_options={_KEY}",
        )
    opened = {
        one: f"urlopen(Request({one}{headers}))" if headers else f"urlopen({one})"
        for one in (parquet, arrow)
    }
    polars = _POLARS.format(names=names, opened=opened[parquet])
    duckdb = _DUCKDB.format(names=names, opened=opened[arrow])
    return [
        ("pandas", f"import pandas as pd\npd.read_parquet({parquet}{options})"),
        ("polars", polars),
        ("DuckDB", duckdb),
        ("SQL, all rows", f"SELECT * FROM {_named(table)};"),
    ]


def _named(table: str) -> str:
    """The table with its schema, in quotes where SQL needs them."""
    engine = services().engine
    quote = engine.dialect.identifier_preparer.quote
    return f"{quote(schemas_of(engine).data)}.{quote(table)}"
