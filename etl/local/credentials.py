"""The credentials of the embedded servers, generated once and stored in LOCAL_DIR (0600)."""

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
    """Keys and password of the embedded servers; only letters, digits, `-` and `_`."""

    s3_access_key: str
    s3_secret_key: str
    database_password: str


def database_url(password: str, port: int) -> str:
    """Return the URL of the embedded database for clients on this machine."""
    return f"postgresql://{ROLE}:{password}@{LOOPBACK}:{port}/{DATABASE}"


def load_credentials(local_dir: Path) -> Credentials:
    """Return the credentials of `local_dir`, generated on first use.

    Raises:  ConfigurationError when the file exists but is not valid.
    """
    path = local_dir / "credentials.json"
    if path.exists():
        return _read(path)
    credentials = Credentials(
        s3_access_key=secrets.token_urlsafe(12),
        s3_secret_key=secrets.token_urlsafe(24),
        database_password=secrets.token_urlsafe(24),
    )
    write_private_json(path, asdict(credentials))
    return credentials


def _read(path: Path) -> Credentials:
    try:
        stored = read_json(path) or {}
        return Credentials(**{field.name: stored[field.name] for field in fields(Credentials)})
    except KeyError as error:
        raise ConfigurationError(
            f"{path} does not contain the credentials of the embedded servers.",
            hint="Remove the file. The next start generates new credentials, and no data are lost.",
        ) from error
