"""The embedded servers' credentials: created once, kept in LOCAL_DIR with mode 0600."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from etl.local.ports import LOOPBACK
from etl.model.errors import ConfigurationError
from etl.runtime.files import read_json, write_private_json

if TYPE_CHECKING:
    from pathlib import Path

ROLE = "bucketline"
DATABASE = "bucketline"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What opens the embedded servers; letters, digits, `-` and `_` only."""

    s3_access_key: str
    s3_secret_key: str
    database_password: str


def database_url(password: str, port: int) -> str:
    """The URL of the embedded database, for any client on this machine."""
    return f"postgresql://{ROLE}:{password}@{LOOPBACK}:{port}/{DATABASE}"


def kept_credentials(local_dir: Path) -> Credentials:
    """The credentials of `local_dir`, made on first use.

    Raises:  ConfigurationError when the file is there but cannot be used.
    """
    path = local_dir / "credentials.json"
    kept = _read(path) if path.exists() else None
    if kept is not None:
        return kept
    made = _made()
    write_private_json(path, asdict(made))
    return made


def _made() -> Credentials:
    return Credentials(
        s3_access_key=secrets.token_urlsafe(12),
        s3_secret_key=secrets.token_urlsafe(24),
        database_password=secrets.token_urlsafe(24),
    )


def _read(path: Path) -> Credentials:
    try:
        stored = read_json(path) or {}
        return Credentials(**{field.name: stored[field.name] for field in fields(Credentials)})
    except KeyError as error:
        raise ConfigurationError(
            f"{path} does not hold the embedded servers' credentials.",
            hint="Remove the file: new ones are made at the next start, and no data are lost.",
        ) from error
