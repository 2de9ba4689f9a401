"""`./run.sh keys`: create, list and revoke API keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from etl.model.errors import ConfigurationError
from etl.model.roles import Entry, Role, check_dataset_names, entry_for, new_key
from etl.runtime.program import program
from etl.settings import key_file, read_settings
from etl.settings.api_keys import listed_keys, refuse_fixed, revoke_key
from etl.settings.declared import file_datasets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.settings import Settings


@click.group("keys")
def keys_command() -> None:
    """Create, list and revoke API keys.

    API_KEYS_FILE stores them as hashes. The API reloads the file when it changes.
    """


@keys_command.command("new")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="reader: read; writer: also write; admin: also destructive operations.",
)
@click.option(
    "--dataset",
    "datasets",
    metavar="NAME",
    multiple=True,
    help="Limit the key to this dataset; may be repeated.",
)
@click.option("--only-show", is_flag=True, help="Print key and API_KEYS entry; save neither.")
def new_command(name: str, role: str, datasets: tuple[str, ...], *, only_show: bool) -> None:
    """Create a key and print it; it is not shown again.

    Standard output contains only the key, standard error the stored entry.
    """
    settings = read_settings()
    key = new_key()
    entry = _entry(name, Role(role), key, datasets)
    if not only_show:
        refuse_fixed(settings, name)
        key_file.add(settings.key_file, entry)
    click.echo(key)
    where = "For API_KEYS" if only_show else f"Saved in {settings.key_file}"
    click.echo(
        f"The key is not shown again. Send it as `Authorization: Bearer KEY`. {where}:", err=True
    )
    click.echo(f"  {entry}", err=True)
    _warn_of_unknown(settings, entry.datasets)


@keys_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_command(*, as_json: bool) -> None:
    """List the keys' names, roles and datasets."""
    settings = read_settings()
    rows = _rows(settings)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo(_no_keys(settings))
        return
    table = Table("name", "role", "datasets", "kept in", box=None)
    for row in rows:
        table.add_row(row["name"], row["role"], ", ".join(row["datasets"]) or "all", row["kept_in"])
    Console(highlight=False).print(table)


@keys_command.command("revoke")
@click.argument("name")
def revoke_command(name: str) -> None:
    """Revoke a key; the API rejects it from then on."""
    settings = read_settings()
    left = revoke_key(settings, name)
    click.echo(f"Key {name} is revoked.")
    if not left and not settings.key_entries:
        click.echo(_no_keys(settings))


def _no_keys(settings: Settings) -> str:
    """The message for an empty list; a key file locks the API even if it has no entries."""
    if not settings.key_file.exists():
        return f"There is no key. To create one: `{program()} keys new --help`."
    return (
        f"No key is left, so no client can use the API. It stays locked while {settings.key_file}"
        " exists."
    )


def _entry(name: str, role: Role, key: str, datasets: Sequence[str]) -> Entry:
    """Raises:  click.BadParameter naming the argument that is not valid."""
    try:
        check_dataset_names(datasets)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="--dataset") from error
    try:
        return entry_for(name, role, key, datasets)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="NAME") from error


def _warn_of_unknown(settings: Settings, datasets: Sequence[str]) -> None:
    """Name the datasets that the datasets file does not declare, for which the key has no use yet.

    A key may be created before its dataset, and with a file that has faults.
    """
    try:
        declared = file_datasets(settings) if datasets else None
    except ConfigurationError:
        return
    known = None if declared is None else {one.name for one in declared}
    unknown = [] if known is None else [name for name in datasets if name not in known]
    if unknown:
        click.echo(f"The datasets file does not declare {', '.join(unknown)}.", err=True)


def _rows(settings: Settings) -> list[dict[str, Any]]:
    return [
        {
            "name": one.entry.name,
            "role": one.entry.role,
            "datasets": list(one.entry.datasets),
            "kept_in": one.kept_in,
        }
        for one in listed_keys(settings)
    ]
