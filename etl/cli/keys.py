"""`./run.sh keys`: make, list and revoke the keys to the API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from etl.model.errors import ConfigurationError
from etl.model.roles import Entry, Role, entry_for, new_key
from etl.runtime.program import program
from etl.settings import key_file, read_settings

if TYPE_CHECKING:
    from etl.settings import Settings


@click.group("keys")
def keys_command() -> None:
    """Make, list and revoke the keys to the API.

    They are kept in API_KEYS_FILE, as hashes; the API reads it again when it changes.
    """


@keys_command.command("new")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="reader: look; writer: also change; admin: also what may do harm.",
)
@click.option("--only-show", is_flag=True, help="Keep nothing here: it is for another machine.")
def new_command(name: str, role: str, *, only_show: bool) -> None:
    """Make a key, and show it this once.

    The key goes to standard output, alone; what is kept of it to standard error.
    """
    settings = read_settings()
    key = new_key()
    entry = _entry(name, Role(role), key)
    if not only_show:
        _refuse_fixed(settings, name)
        key_file.add(settings.key_file, entry)
    click.echo(key)
    where = "For API_KEYS" if only_show else f"Kept in {settings.key_file}"
    click.echo(f"Shown this once; send it as `Authorization: Bearer KEY`. {where}:", err=True)
    click.echo(f"  {entry}", err=True)


@keys_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_command(*, as_json: bool) -> None:
    """List names and roles."""
    settings = read_settings()
    rows = _rows(settings)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo(_no_key(settings))
        return
    table = Table("name", "role", "kept in", box=None)
    for row in rows:
        table.add_row(row["name"], row["role"], row["kept_in"])
    Console(highlight=False).print(table)


@keys_command.command("revoke")
@click.argument("name")
def revoke_command(name: str) -> None:
    """Forget a key, so that it opens nothing any more."""
    settings = read_settings()
    _refuse_fixed(settings, name)
    left = key_file.remove(settings.key_file, name)
    click.echo(f"{name} opens nothing any more.")
    if not left and not settings.key_entries:
        click.echo(_no_key(settings))


def _no_key(settings: Settings) -> str:
    """What it means that there is none: a keys file locks the API even when it is empty."""
    if not settings.key_file.exists():
        return f"There is no key; `{program()} keys new --help`"
    return (
        f"No key is left, so nobody can use the API; it stays locked while {settings.key_file}"
        " is there."
    )


def _entry(name: str, role: Role, key: str) -> Entry:
    try:
        return entry_for(name, role, key)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="NAME") from error


def _refuse_fixed(settings: Settings, name: str) -> None:
    """Leave alone what the environment says."""
    if any(entry.name == name for entry in settings.key_entries):
        raise ConfigurationError(
            f"The key {name} is in API_KEYS.",
            hint="Change API_KEYS, in the environment or in .env, and start the API again.",
        )


def _rows(settings: Settings) -> list[dict[str, str]]:
    """Those of API_KEYS first; they hide one of the file with the same name."""
    fixed = {entry.name: (entry, "API_KEYS") for entry in settings.key_entries}
    kept = {
        entry.name: (entry, str(settings.key_file)) for entry in key_file.kept(settings.key_file)
    }
    return [
        {"name": entry.name, "role": entry.role, "kept_in": where}
        for entry, where in (fixed | {k: v for k, v in kept.items() if k not in fixed}).values()
    ]
