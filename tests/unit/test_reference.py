"""The reference documents match the code: commands, settings, routes, tables and columns."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from api import create_app
from api.http.pages import is_page
from etl.cli.main import commands
from etl.db.tables import metadata
from etl.settings import Settings

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
LAUNCHER = {
    "test [ARGUMENTS]": {"--long", "--store"},
    "lint": set(),
    "bench": {"--quick", "--full"},
    "secrets": set(),
}
HIDDEN_OPTIONS = {"--url-file"}


def rows(document: str, heading: str) -> list[list[str]]:
    """The rows of the tables whose first column has this heading."""
    found = []
    is_wanted = False
    for line in (REFERENCE / document).read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if not cells:
            is_wanted = False
        elif is_wanted and not set(cells[0]) <= set("-"):
            found.append(cells)
        elif cells[0] == heading:
            is_wanted = True
    assert found, f"{document} has no table {heading}"
    return found


def leaves(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    """Every command by its full name, such as `keys new`."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= leaves(command, f"{prefix}{name} ")
        else:
            found[prefix + name] = command
    return found


def arguments(command: click.Command) -> list[click.Argument]:
    return [one for one in command.params if isinstance(one, click.Argument)]


def test_every_command_is_in_the_reference_and_vice_versa():
    documented = [cells[0].strip("`") for cells in rows("cli.md", "Command")]
    known = {
        " ".join([name, *(one.make_metavar(click.Context(command)) for one in arguments(command))])
        for name, command in leaves(commands).items()
    }
    assert sorted(documented) == sorted(known | set(LAUNCHER))


def test_options_match_the_rows_of_their_commands():
    by_name = leaves(commands)
    for cells in rows("cli.md", "Command"):
        command = cells[0].strip("`")
        documented = set(re.findall(r"(--[a-z][a-z-]*)", cells[1]))
        if command in LAUNCHER:
            known = LAUNCHER[command]
        else:
            params = by_name[re.sub(r" [\[A-Z].*", "", command)].params
            known = {name for one in params if isinstance(one, click.Option) for name in one.opts}
        assert documented == known - HIDDEN_OPTIONS, command


def test_every_option_in_the_text_exists():
    known = {
        name
        for command in leaves(commands).values()
        for one in command.params
        if isinstance(one, click.Option)
        for name in one.opts
    } | {option for options in LAUNCHER.values() for option in options}
    text = (REFERENCE / "cli.md").read_text("utf-8")
    assert set(re.findall(r"(--[a-z][a-z-]*)", text)) - {"--help"} == known - HIDDEN_OPTIONS


def test_every_exit_code_is_documented_and_vice_versa():
    assert commands.help is not None
    documented = [int(cells[0]) for cells in rows("cli.md", "Code")]
    printed = commands.help.split("Exit codes:")[1].split("\n\n")[0]
    assert documented == [int(code) for code in re.findall(r"\b(\d+) ", printed)]


def test_every_setting_is_in_the_reference_and_vice_versa():
    documented = [
        name
        for cells in rows("settings.md", "Setting")
        for name in re.findall(r"`(\w+)`", cells[0])
    ]
    assert sorted(documented) == sorted(name.upper() for name in Settings.model_fields)


def test_defaults_of_settings_are_those_of_the_example():
    example = dict(
        re.findall(r"^#(\w+)=(.*)$", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE)
    )
    literals = 0
    for cells in rows("settings.md", "Setting"):
        for name in re.findall(r"`(\w+)`", cells[0]):
            literal = re.fullmatch(r"`([^`]+)`", cells[1])
            if literal and literal[1] not in example:
                assert literal[1].replace("LOCAL_DIR/api-keys", "") == example[name], name
                literals += 1
    assert literals > len(example) / 3


def routes() -> set[tuple[str, str]]:
    """Method and rule of every route of the API, except those that Flask adds, and pages."""
    app = create_app(Settings(_env_file=None, database_url="postgresql://db_user@127.0.0.1:9/none"))
    found = set()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<\w+:", "<", rule.rule).replace("<run_id>", "<id>")
        if "static" not in path and not path.startswith("/docs/") and not is_page(path):
            found |= {(method, path) for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}}
    return found


def test_every_route_is_in_the_reference_and_vice_versa():
    documented = {
        (method, path)
        for cells in rows("http-api.md", "Route")
        for method, path in re.findall(r"`([A-Z]+) (\S+)`", cells[0])
    }
    assert documented == routes()


@pytest.mark.parametrize(("method", "path"), sorted(routes()))
def test_every_route_has_a_section_with_an_example(method: str, path: str):
    text = (REFERENCE / "http-api.md").read_text("utf-8")
    title = f"{method} {path.replace('<id>', '<run_id>').replace('<', '{').replace('>', '}')}"
    section = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
    assert "curl" in section


def tables() -> dict[str, set[str]]:
    """The columns of each table in the reference."""
    text = (REFERENCE / "database-schema.md").read_text("utf-8")
    found: dict[str, set[str]] = {}
    for section in text.split("\n## ")[1:]:
        heading, body = section.split("\n", 1)
        names = re.findall(r"`(\w+)`", heading)
        for row in re.findall(r"^\| (`.*)$", body, re.MULTILINE):
            cells = row.split(" | ")
            chosen = [name for name in names if f"`{name}`" in cells[-1]] or names
            for name in chosen:
                found.setdefault(name, set()).update(re.findall(r"`(\w+)`", cells[0]))
    return found


def test_tables_and_columns_match_the_reference():
    assert tables() == {
        name: {column.name for column in table.columns} for name, table in metadata.tables.items()
    }
