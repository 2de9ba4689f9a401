"""The command line: every command, its options and its exit codes."""

from __future__ import annotations

import os
import shlex
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

import click

from etl import __version__, local
from etl.cli import render
from etl.cli.alert import alert_command
from etl.cli.check import check_command
from etl.cli.common import (
    EXIT_CONFIGURATION,
    EXIT_DIFFERENCES,
    EXIT_FAILED,
    EXIT_REFUSED,
    EXIT_TRY_AGAIN,
    CallersPath,
    console,
    print_json,
    print_lines,
    print_report,
    print_result,
    progress_bar,
    running_stack,
    stdout_console,
    wait_option,
    warn,
)
from etl.cli.completion import VARIABLE, Commands, completion_command
from etl.cli.datasets import datasets_group
from etl.cli.doctor import doctor_command
from etl.cli.events import events_group
from etl.cli.keys import keys_command
from etl.cli.problems import problems_command
from etl.cli.replay import replay_command
from etl.cli.rows import rows_command
from etl.cli.runs import run_command
from etl.cli.runs_group import runs_group
from etl.cli.seed import seed_command
from etl.cli.shadowed import shadowed_command
from etl.cli.status_command import status_command
from etl.model.errors import ConfigurationError, EtlError, RunRefused, TransientError
from etl.runtime.allocator import choose_allocator
from etl.runtime.files import write_private
from etl.runtime.locks import is_held
from etl.runtime.logs import get_logger, set_up_logs, wants_json
from etl.runtime.program import program
from etl.settings import EMBEDDED_MARK, Settings, embedded_mark, read_settings
from etl.settings.declared import declared_datasets
from etl.settings.typos import read_misspellings

if TYPE_CHECKING:
    from pathlib import Path

# Modules that only one command needs are imported when it runs: pandas alone takes 0.4 s.

log = get_logger("etl")


def main() -> NoReturn:
    """Run the command line; print an expected error as a message and exit with its code."""
    choose_allocator()
    try:
        commands(prog_name=program(), standalone_mode=False, complete_var=VARIABLE)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        _show_usage_error(error)
        sys.exit(error.exit_code)
    except EtlError as error:
        _show(error)
        sys.exit(_exit_code(error))
    except BrokenPipeError:  # the reader of our output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    sys.exit(0)


def _show_usage_error(error: click.ClickException) -> None:
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
        print_lines(console, render.error(error))


def _exit_code(error: EtlError) -> int:
    if isinstance(error, ConfigurationError):
        return EXIT_CONFIGURATION
    if isinstance(error, RunRefused):
        return EXIT_REFUSED
    return EXIT_TRY_AGAIN if isinstance(error, TransientError) else EXIT_FAILED


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="bucketline", message="%(prog)s %(version)s")
def commands() -> None:
    """Sync the files of a bucket into PostgreSQL tables.

    Exit codes: 0 done, 1 failed, 2 wrong use or settings, 3 run refused or held,
    4 verify found differences, 75 something is down: try again.
    """
    for misspelling in read_misspellings():
        warn(misspelling.sentence())


def _with_declaration_of(sample: str) -> Settings:
    """The settings with the sample's datasets file, for the processes that `up` starts, too."""
    from etl.storage.seed import DECLARATIONS

    if sample in DECLARATIONS:
        os.environ["DATASETS_FILE"] = str(DECLARATIONS[sample])
    return read_settings()


def _check_datasets(settings: Settings) -> None:
    """Raises:  ConfigurationError with each fault of the datasets file."""
    declared_datasets(settings)


@commands.command("up")
@click.option("--no-seed", is_flag=True, help="Do not fill an empty bucket.")
@click.option(
    "--sample",
    type=click.Choice(["users", "shop"]),
    help="Fill an empty bucket with this sample: users, or orders and readings of a shop.",
)
def up_command(*, no_seed: bool, sample: str | None) -> None:
    """Start everything and run it until Ctrl-C.

    If the object store and PostgreSQL are both embedded, an empty bucket is filled with the
    sample of users, data/src. Another sample, or another bucket, must be asked for by --sample;
    without a datasets file, the declaration of the sample is used.
    """
    from etl.cli.up import up

    if sample is not None and no_seed:
        raise click.UsageError("--sample fills the bucket, and --no-seed does not.")
    given = read_settings()  # the running stack's settings contain the embedded addresses
    if sample is not None and given.datasets_path is None:
        given = _with_declaration_of(sample)
    _check_datasets(given)  # a faulty file starts nothing
    embeds_store = given.embeds_object_store
    if sample is None and embeds_store and given.embeds_database and not no_seed:
        sample = "users"
    with running_stack() as settings:
        notes = local.notes(given)
        up(settings, console, notes=notes, sample=sample, embeds_store=embeds_store)
    console.print("Stopped.")


commands.add_command(run_command)


@commands.command("images")
@click.option(
    "--again", is_flag=True, help="Also retry failed images and recreate missing thumbnails."
)
@wait_option(help="How long to wait for another process that processes images; by default 0.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def images_command(*, again: bool, wait_seconds: float, as_json: bool) -> None:
    """Process pending images and create their thumbnails now.

    `up` and `schedule` do this after each run.
    """
    from etl.images.indexer import ThumbnailIndexer

    with running_stack() as settings:
        done = ThumbnailIndexer(settings).run(again=again, wait_seconds=wait_seconds)
    print_report(done, render.index_report, as_json=as_json, to=console)


commands.add_command(seed_command)


commands.add_command(status_command)
commands.add_command(runs_group)


@commands.command("watch")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON whenever it changes.")
def watch_command(*, as_json: bool) -> None:
    """Show the state and the active run until Ctrl-C.

    Without a terminal, it prints a line whenever something changes.
    """
    from etl.cli.watch import watch

    watch(as_json=as_json)


commands.add_command(rows_command)
commands.add_command(problems_command)
commands.add_command(shadowed_command)
commands.add_command(check_command)
commands.add_command(replay_command)
commands.add_command(datasets_group)


@commands.command("verify")
@click.option("--all", "shows_all", is_flag=True, help="Print more than 20 of each kind.")
@click.option("--json", "as_json", is_flag=True, help="Print all differences as JSON.")
def verify_command(*, shows_all: bool, as_json: bool) -> None:
    """Read the buckets again and print the differences.

    Prints up to 20 of each kind and dataset. The verifier is slow and shares no code with runs.
    It compares the contents of the buckets with the tables of all datasets, the users with
    output.csv and output.parquet if they are published, and the thumbnails with the image
    metadata.
    """
    from etl.cli import difference_lines
    from etl.cli.status import images_waiting
    from etl.db.engine import connect, schemas_of
    from etl.model.dataset import USERS
    from etl.sync import declared
    from etl.verify import verify

    notices: list[str] = []
    with running_stack() as settings, progress_bar(hidden=as_json) as bar:
        task = bar.add_task("verify", total=None)
        engine = connect(settings)
        with engine.connect() as connection:
            installed = declared.load(connection, schemas_of(engine).data).values
        differences = verify(
            settings,
            engine,
            datasets=installed or (USERS,),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            notice=notices.append,
        )
        waiting = images_waiting(engine, settings)
        engine.dispose()
    for line in notices:
        console.print(line, markup=False, soft_wrap=True)
    print_report(
        differences,
        lambda found: difference_lines.differences(
            found, is_output_compared=not notices, shows_all=shows_all
        ),
        as_json=as_json,
        to=stdout_console(),
    )
    if not as_json:
        print_lines(console, render.images_waiting(waiting))
    if any(not one.is_held for one in differences):
        sys.exit(EXIT_DIFFERENCES)


commands.add_command(doctor_command)


@commands.command("env")
@click.option("--json", "as_json", is_flag=True, help="Print an object instead of export lines.")
def env_command(*, as_json: bool) -> None:
    """Print export lines for the running stack: psql, aws and curl."""
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
    """The API's URL if `up` is running in this LOCAL_DIR.

    After an `up` was killed, its file remains, but its lock is free.
    """
    url_file = settings.local_dir / "api.url"
    if not is_held(settings.local_dir / "up.lock") or not url_file.exists():
        return None
    return url_file.read_text("utf-8").strip()


commands.add_command(keys_command)
commands.add_command(completion_command)


@commands.command("schedule")
def schedule_command() -> None:
    """Make runs on the interval, on request and for events."""
    from etl.runtime.arrow import import_arrow
    from etl.services.scheduler import schedule

    _check_datasets(read_settings())  # a faulty file starts nothing
    import_arrow()
    import_module("etl.sync.stream")  # now, so that the first change does not wait for Arrow
    with running_stack(quiet=False) as settings:
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

    with running_stack(quiet=False) as settings:
        serve(settings, announce=announce)


def _write_url(url_file: Path, url: str) -> None:
    try:
        write_private(url_file, f"{url}\n")
    except OSError as error:
        raise local.unusable(url_file.parent, error) from error


commands.add_command(events_group)
commands.add_command(alert_command)


@commands.command("migrate")
def migrate_command() -> None:
    """Migrate the tables to the newest version; create the buckets."""
    from etl.cli.prepare import prepare

    settings = read_settings()
    set_up_logs(settings.log_format, quiet=True)
    with local.running(settings) as filled:
        prepare(filled, make_tables=True, make_buckets=True)
    print_result("The tables are at the newest version; the buckets exist.")
