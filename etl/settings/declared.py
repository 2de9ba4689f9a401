"""The datasets that this process declares: those of its datasets file, or only users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.model.dataset import USERS, Dataset

if TYPE_CHECKING:
    from etl.settings.model import Settings


def declared_datasets(settings: Settings) -> tuple[Dataset, ...]:
    """The datasets of DATASETS_FILE, or only users if there is no such file.

    Raises:  ConfigurationError.
    """
    return file_datasets(settings) or (USERS,)


def file_datasets(settings: Settings) -> tuple[Dataset, ...] | None:
    """The datasets of DATASETS_FILE; None if there is no such file: runs use the installed ones.

    Raises:  ConfigurationError.
    """
    path = settings.datasets_path
    if path is None:
        return None
    from etl.settings.datasets_file import read_datasets

    return read_datasets(path, settings)
