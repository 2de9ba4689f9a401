"""The command line, by any of the program's names: every command, its options, its exit code."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

import click
import structlog
from rich.console import Console

from etl import __version__, local
from etl.cli import render
from etl.cli.common import (
    EXIT_CONFIGURATION,
    EXIT_DIFFERENCES,
    EXIT_FAILED,
    EXIT_REFUSED,
    EXIT_TRY_AGAIN,
    CallersPath,
    InOrder,
    console,
    database,
    live,
    print_json,
    print_json_list,
    print_result,
    progress_bar,
    warn,
)
from etl.cli.events import events_group
from etl.cli.keys import keys_command
from etl.cli.seed import seed_command
from etl.cli.shadowed import shadowed_command
from etl.model.errors import ConfigurationError, EtlError, RunRefused, TransientError
from etl.model.values import ProblemCode, Trigger
from etl.runtime.allocator import choose_allocator
from etl.runtime.files import write_private
from etl.runtime.locks import is_held
from etl.runtime.logs import set_up_logs, wants_json
from etl.runtime.program import naming, program
from etl.settings import EMBEDDED_MARK, Settings, embedded_mark, read_settings
from etl.settings.typos import read_misspellings

if TYPE_CHECKING:
    from pathlib import Path

# What one command alone needs is imported where that command runs: pandas takes half a second.

log = structlog.get_logger("etl")


def main() -> NoReturn:
    """Run the command line; turn an error we foresaw into words and an exit code."""
    choose_allocator()
    try:
        commands(prog_name=program(), standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        _show_wrong_use(error)
        sys.exit(error.exit_code)
    except EtlError as error:
        _show(error)
        sys.exit(_exit_code(error))
    sys.exit(0)


def _show_wrong_use(error: click.ClickException) -> None:
    if wants_json():
        set_up_logs("json")
        log.error(error.format_message())
    else:
        error.show()


def _show(error: EtlError) -> None:
    if wants_json():
        set_up_logs("json")
        log.error(error.message, code=error.code, hint=error.hint)
    else:
        render.error(console, error)


def _exit_code(error: EtlError) -> int:
    if isinstance(error, ConfigurationError):
        return EXIT_CONFIGURATION
    if isinstance(error, RunRefused):
        return EXIT_REFUSED
    return EXIT_TRY_AGAIN if isinstance(error, TransientError) else EXIT_FAILED


@click.group(
    cls=InOrder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="bucketline", message="%(prog)s %(version)s")
def commands() -> None:
    """Keep a PostgreSQL table level with a bucket of user CSVs and images.

    Exit codes: 0 done, 1 failed, 2 wrong use or settings, 3 run refused,
    4 verify found differences, 75 something is down: try again.
    """
    for misspelling in read_misspellings():
        warn(misspelling.sentence())


@commands.command("up")
@click.option("--no-seed", is_flag=True, help="Leave an empty bucket empty.")
def up_command(*, no_seed: bool) -> None:
    """Start everything, until Ctrl-C.

    An empty bucket is filled with the sample, data/src, where object store and PostgreSQL are
    both the embedded ones.
    """
    from etl.cli.up import up

    asked = read_settings()
    is_ours = asked.embeds_object_store
    with live() as settings:
        up(
            settings,
            console,
            sample=is_ours and asked.embeds_database and not no_seed,
            embeds_store=is_ours,
        )


@commands.command("run")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="How long to wait for another run to end; by default 0: be refused at once.",
)
@click.option("--allow-mass-retirement", is_flag=True, help="Retire even most of the users.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def run_command(*, wait_seconds: float, allow_mass_retirement: bool, as_json: bool) -> None:
    """Make one run now and report on it."""
    from etl.cli.status import images_waiting
    from etl.sync.manager import DataManager

    with live() as settings, progress_bar(hidden=as_json) as bar:
        tasks = {step: bar.add_task(step, total=None) for step in ("list", "read")}
        manager = DataManager(
            settings, progress=lambda step, done: bar.update(tasks[step], completed=done)
        )
        report = manager.run(
            Trigger.CLI, allow_mass_retirement=allow_mass_retirement, wait_seconds=wait_seconds
        )
        waiting = images_waiting(settings)
    if as_json:
        print_json(asdict(report))
    else:
        render.report(console, report)
        render.images_waiting(console, waiting)


@commands.command("images")
@click.option(
    "--again",
    is_flag=True,
    help="Look at faulty images again too, and make thumbnails that are gone from their bucket.",
)
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="How long to wait for another process that looks after images; by default 0.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def images_command(*, again: bool, wait_seconds: float, as_json: bool) -> None:
    """Look at the images that wait and make their thumbnails, now.

    `up` and `schedule` do it by themselves after each run.
    """
    from etl.images.indexer import ThumbnailIndexer

    with live() as settings:
        kept = ThumbnailIndexer(settings).run(again=again, wait_seconds=wait_seconds)
    if as_json:
        print_json(asdict(kept))
    else:
        render.kept(console, kept)


commands.add_command(seed_command)


@commands.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status_command(*, as_json: bool) -> None:
    """Tell of users, objects, images, open problems and the last runs."""
    from etl.cli.status import status

    with database() as (settings, connection):
        facts = status(connection, settings)
    if as_json:
        print_json(facts)
    else:
        render.status(Console(highlight=False), facts)


@commands.command("problems")
@click.option("--key", metavar="KEY", help="Only those of the object with this key.")
@click.option(
    "--code",
    metavar="CODE",
    type=click.Choice([code.value for code in ProblemCode]),
    help="Only those with this code; docs/problems.md explains each.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all of them as JSON.")
def problems_command(*, key: str | None, code: str | None, as_json: bool) -> None:
    """List what is wrong in the bucket now, and what to do.

    A problem is open until the next run after its object was mended or removed.
    """
    from itertools import islice

    from etl.db.problems import count_open_problems, open_problems

    with database() as (_, connection):
        found = open_problems(connection, key=key, code=code)
        if as_json:
            print_json_list(naming("note", problem) for problem in found)
        else:
            first = list(islice(found, render.SHOWN_PROBLEMS + 1))
            if first:
                render.problems(Console(highlight=False), first)
            else:
                others = count_open_problems(connection)
                render.no_problem(Console(highlight=False), key=key, code=code, others=others)


commands.add_command(shadowed_command)


@commands.command("verify")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
def verify_command(*, as_json: bool) -> None:
    """Read the whole bucket afresh and print every difference.

    An independent, slow reader; it compares the tables and output.csv with what it read,
    and the thumbnails with what is known of the images.
    """
    from etl.cli.status import images_waiting
    from etl.db.engine import connect
    from etl.verify import verify

    notices: list[str] = []
    with live() as settings, progress_bar(hidden=as_json) as bar:
        task = bar.add_task("verify", total=None)
        engine = connect(settings)
        differences = verify(
            settings,
            engine,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            notice=notices.append,
        )
        engine.dispose()
        waiting = images_waiting(settings)
    for line in notices:
        console.print(line, markup=False, soft_wrap=True)
    if as_json:
        print_json([asdict(difference) for difference in differences])
    else:
        render.differences(Console(highlight=False), differences, is_output_compared=not notices)
        render.images_waiting(console, waiting)
    if differences:
        sys.exit(EXIT_DIFFERENCES)


@commands.command("env")
@click.option("--json", "as_json", is_flag=True, help="Print an object instead of export lines.")
def env_command(*, as_json: bool) -> None:
    """Print export lines of what is up, for psql, aws and curl."""
    settings = read_settings()
    filled = local.recorded(settings)
    if filled is None:
        raise ConfigurationError(
            f"Nothing is up in {settings.local_dir}.", hint="Start it first: `./run.sh up`."
        )
    values = render.environment(filled, _api_url(settings))
    values[EMBEDDED_MARK] = embedded_mark(settings)
    if as_json:
        print_json(values)
    else:
        for name, value in values.items():
            click.echo(f"export {name}={shlex.quote(value)}")


def _api_url(settings: Settings) -> str | None:
    """Where the API of the `up` in this LOCAL_DIR listens; None when no `up` is there.

    The file outlives an `up` that was killed; its lock does not.
    """
    url_file = settings.local_dir / "api.url"
    if not is_held(settings.local_dir / "up.lock") or not url_file.exists():
        return None
    return url_file.read_text("utf-8").strip()


commands.add_command(keys_command)


@commands.command("schedule")
def schedule_command() -> None:
    """Run now, on the interval and on request, until Ctrl-C."""
    from etl.services.scheduler import schedule

    import_module("etl.sync.stream")  # now, so that the first change does not wait for pandas
    with live(quiet=False) as settings:
        schedule(settings)


@commands.command("serve")
@click.option("--url-file", type=CallersPath(), help="Write the API's URL here.")
def serve_command(*, url_file: Path | None) -> None:
    """Serve the HTTP API until Ctrl-C."""
    from api.server import serve

    def announce(url: str) -> None:
        if wants_json():
            log.info("API listening", url=url)
        else:
            console.print(f"API listening on {url}")
        if url_file is not None:
            _write_url(url_file, url)

    with live(quiet=False) as settings:
        serve(settings, announce=announce)


def _write_url(url_file: Path, url: str) -> None:
    try:
        write_private(url_file, f"{url}\n")
    except OSError as error:
        raise local.unusable(url_file.parent, error) from error


commands.add_command(events_group)


@commands.command("migrate")
def migrate_command() -> None:
    """Bring the tables to the newest version; make the buckets."""
    from etl.cli.prepare import prepare

    settings = read_settings()
    set_up_logs(settings.log_format, quiet=True)
    with local.running(settings) as filled:
        prepare(filled, make_tables=True, make_buckets=True)
    print_result("The tables are at the newest version; the buckets exist.")
