"""The README lists exactly the commands, settings, routes and codes that exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from api import create_app
from etl.cli.main import commands
from etl.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
OF_THE_LAUNCHER = {"test", "lint", "secrets", "bench"}
OPTIONS_OF_THE_LAUNCHER = {"--long", "--quick", "--full"}


def section(title: str) -> str:
    return README.split(f"## {title}\n")[1].split("\n## ")[0]


def first_cells(title: str) -> str:
    return "\n".join(line.split("|")[1] for line in section(title).splitlines() if "|" in line)


def test_commands_match_the_readme():
    told = set(re.findall(r"`([a-z]+)[ `]", first_cells("Commands")))
    assert told == set(commands.commands) | OF_THE_LAUNCHER


def test_subcommands_match_the_readme():
    pair = re.compile(r"`([a-z]+ [a-z]+)[ `]")
    known = {
        f"{name} {below}"
        for name, command in commands.commands.items()
        if isinstance(command, click.Group)
        for below in command.commands
    }
    assert known <= set(pair.findall(section("Commands")))
    assert known >= set(pair.findall(first_cells("Commands")))


def options_of(command: click.Command) -> list[str]:
    below = command.commands.values() if isinstance(command, click.Group) else ()
    own = [name for one in command.params if isinstance(one, click.Option) for name in one.opts]
    return own + [name for sub in below for name in options_of(sub)]


def test_options_match_the_readme():
    told = set(re.findall(r"(--[a-z][a-z-]*)", section("Commands")))
    told -= OPTIONS_OF_THE_LAUNCHER
    known = {option for command in commands.commands.values() for option in options_of(command)}
    assert told == known - {"--url-file"}


def test_settings_match_the_readme():
    told = set(re.findall(r"`([A-Z0-9_]+)`", first_cells("Settings")))
    assert told == {name.upper() for name in Settings.model_fields}


def test_routes_match_the_readme():
    told = set(re.findall(r"(/[a-z/<>_.-]*)`", first_cells("HTTP")))
    app = create_app(Settings(_env_file=None, database_url="postgresql://nobody@127.0.0.1:9/none"))
    known = {re.sub(r"<\w+:", "<", rule.rule) for rule in app.url_map.iter_rules()}
    known = {rule.replace("<run_id>", "<id>") for rule in known if "static" not in rule}
    assert told == {rule for rule in known if not rule.startswith("/docs/")}


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_every_link_leads_somewhere(path: str):
    assert (ROOT / path).exists()


def test_every_exit_code_is_documented():
    assert commands.help is not None
    told = re.search(r"Exit codes: (.*)", README)
    assert told is not None
    for code in re.findall(r"\b(\d+) ", commands.help):
        assert re.search(rf"\b{code} ", told[1])
