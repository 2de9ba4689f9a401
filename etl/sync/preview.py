"""What a run would change, found by a merge that is rolled back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from etl.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etl.db.dataset_sql import DatasetSql
    from etl.model.dataset import Dataset
    from etl.model.errors import EtlError
    from etl.model.values import DatasetCounts
    from etl.sync.declared import Declared

MOST_KEYS = 20  # of each outcome
_HAS_UPSERTS = "SELECT to_regclass('pg_temp.upserts') IS NOT NULL"

Keys = dict[str, list[list[Any]]]


@dataclass(frozen=True)
class Previewed:
    """What a run would commit by dataset, and the datasets that it could not merge.

    `keys` are, by dataset and outcome, the first keys of the rows concerned, as lists of values:
    those of the primary key, or object and line. Those of shadowed rows are object and line.
    """

    counts: Mapping[str, DatasetCounts]
    keys: Mapping[str, Keys]
    failures: Mapping[str, EtlError]


@dataclass
class Preview:
    """Collects the keys of each dataset while its merge still has its temporary tables."""

    keys: dict[str, Keys] = field(default_factory=dict)

    def collect(self, connection: Connection, sql: DatasetSql) -> None:
        """Take the first keys of each outcome."""
        named = sql.statements("preview")
        is_merged = connection.scalar(text(_HAS_UPSERTS))
        names = [name for name in named if (name == "first_inserted") != is_merged]
        found: Keys = {}
        for name in names:
            rows = connection.execute(text(named[name]), {"most": MOST_KEYS}).all()
            found[name.removeprefix("first_")] = [list(row) for row in rows]
        self.keys[sql.dataset.name] = found


def check_installed(known: Declared, declared: tuple[Dataset, ...] | None) -> None:
    """Refuse a preview of datasets that are not installed, because it creates no table.

    Raises:  ConfigurationError.
    """
    if declared is not None and known.values != declared:
        raise ConfigurationError(
            "The declared datasets are not installed, so a dry run cannot compare them.",
            hint="Run `./run.sh datasets apply`, which changes tables but loads no row.",
        )
