"""What the commands print: each function returns the lines of one report.

`common.print_report` prints a report as these lines or as JSON.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from etl.model.errors import ConfigurationError
from etl.model.safe_text import printable
from etl.runtime.program import named, program
from etl.settings.database_url import for_libpq

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from rich.table import Table

    from etl.images.indexer import IndexReport
    from etl.model.dataset import Dataset
    from etl.model.errors import EtlError
    from etl.settings import Settings
    from etl.storage.notifications import Subscription

    Lines: TypeAlias = list[Text | Table]

SHOWN_PROBLEMS = 3  # of each code in a column of a file
_SHOWN_LINES = 3  # of those left out
LABEL_WIDTH = 8  # of the first column of reports; longer names of datasets widen it


def iso(moment: datetime) -> str:
    """A moment as 2026-01-02T03:04:05.678Z."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def counted(count: int, noun: str) -> str:
    """`1 object`, `2 objects`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Sequence[str], noun: str) -> str:
    """`the column a`, `the columns a and b`."""
    each = [printable(name) for name in names]
    if len(each) == 1:
        return f"the {noun} {each[0]}"
    return f"the {noun}s {', '.join(each[:-1])} and {each[-1]}"


def sentence(text: str, style: str = "") -> Text:
    """One line, with the commands in it as the user has to enter them."""
    return Text(named(text), style=style)


def indented(text: str, style: str = "") -> Lines:
    """The lines of a text, as those of a report."""
    return [sentence(f"  {line}", style) for line in text.splitlines()]


def error(failure: EtlError) -> Lines:
    """The failure in one sentence, then its hint.

    Wrong settings need no code: the message names them.
    """
    prefix = "" if failure.code == ConfigurationError.__name__ else f"{failure.code}: "
    first = sentence(f"{prefix}{failure.message}", "red")
    return [first, sentence(failure.hint)] if failure.hint else [first]


# -- images


def images_waiting(count: int, width: int = LABEL_WIDTH) -> Lines:
    """The number of pending images, if there are any."""
    line = (
        f"  {'images':{width}} {count} waiting (`up` and `schedule` process them;"
        " `./run.sh images` does it now)"
    )
    return [sentence(line)] if count else []


def index_report(done: IndexReport) -> Lines:
    """The report of processing the pending images."""
    return [
        Text(f"Processed {counted(done.looked_at, 'image')} in {done.seconds:.2f} s.", "green"),
        Text(
            f"  images   {done.looked_at} processed = {done.ready} ready + {done.corrupt} corrupt"
            f" + {done.too_large} too large + {done.unsupported} unsupported;"
            f" {done.passed_over} skipped, {done.forgotten} removed"
        ),
        Text(f"  thumbnails {done.thumbnails_put} put, {done.thumbnails_removed} removed"),
        *problem_count(done.corrupt + done.too_large + done.unsupported),
    ]


def problem_count(count: int, width: int = LABEL_WIDTH) -> Lines:
    """The number of problems, if there are any."""
    line = f"  {'problems':{width}} {count} (`./run.sh problems` explains each)"
    return [sentence(line, "yellow")] if count else []


def open_problems(count: int) -> Lines:
    """The problems that are open though the last run has found none."""
    line = f"{counted(count, 'problem')} {'is' if count == 1 else 'are'} open: `./run.sh problems`."
    return [sentence(line, "yellow")] if count else []


# -- up


def welcome(settings: Settings, url: str, datasets: Sequence[Dataset]) -> Lines:
    """Commands to try, each of which works as printed: of users and of one other dataset."""
    needs_key = bool(settings.key_entries) or settings.key_file.exists()
    key = ' -H "X-API-Key: $KEY"' if needs_key else ""
    has_users = any(one.is_preset for one in datasets)
    other = next((one for one in datasets if not one.is_preset), None)
    reads, queries = [], []
    if has_users:
        reads.append(f"{url}/data?min_age=30&is_image_exists=true&limit=3")
        queries.append("SELECT * FROM users LIMIT 3")
    if other is not None:
        reads.append(f"{url}/datasets/{other.name}/rows?limit=3")
        queries.append(f'SELECT * FROM "{other.table}" LIMIT 3')
    commands = (
        *(f"curl{key} '{address}'" for address in reads),
        f"curl{key} -X POST '{url}/data?wait=10'",
        f'eval "$({program()} env)"',
        *(f"psql -c '{query}'" for query in queries),
        f'aws --endpoint-url "$S3_ENDPOINT" s3 ls s3://{settings.source_bucket}',
    )
    return [
        Text(f"\nBucketline is up at {url}. Try, in another terminal:", "bold"),
        *(Text(f"  {command}") for command in commands),
        Text(f"A browser shows the dashboard at {url}, and {url}/docs describes the API."),
        Text("Ctrl-C ends everything; the data is kept."),
    ]


# -- holds


def holds(found: Sequence[Mapping[str, Any]]) -> Lines:
    """Retirements that wait for permission: which, why, and the command that allows them."""
    return [sentence(hold(one), "red") for one in found]


def hold(one: Mapping[str, Any]) -> str:
    """One open hold in a line."""
    objects = counted(one["objects"], "object") + (" was" if one["objects"] == 1 else " were")
    return (
        f"Held: {counted(one['rows'], 'row')} of {one['dataset']}, of {one['live']} live, would be"
        f" retired, because {objects} removed or lost rows. If that is right, allow it:"
        f" `./run.sh run --allow-mass-retirement {one['dataset']}`. If not, upload the objects"
        " again."
    )


# -- problems


def problem(found: Mapping[str, Any]) -> Lines:
    """One problem with its place and value, then its hint."""
    style = "red" if found["severity"] == "error" else "yellow"
    return [Text(_problem(found), style), sentence(f"  {found['note']}")]


def problems(found: Sequence[Mapping[str, Any]]) -> Lines:
    """The problems of one file by column and code: the first ones of each, and how many more."""
    groups: dict[tuple[str, str | None], list[Mapping[str, Any]]] = {}
    for one in found:
        groups.setdefault((one["code"], one["column"]), []).append(one)
    lines: Lines = []
    for (code, column), group in groups.items():
        lines += [line for one in group[:SHOWN_PROBLEMS] for line in problem(one)]
        lines += _more_problems(code, column, group[SHOWN_PROBLEMS:])
    return lines


def _more_problems(code: str, column: str | None, left: Sequence[Mapping[str, Any]]) -> Lines:
    if not left:
        return []
    place = "" if column is None else f" in {printable(column)}"
    numbers = [str(one["line"]) for one in left if one["line"] is not None]
    shown = numbers[:_SHOWN_LINES] + ["…"] * (len(numbers) > _SHOWN_LINES)
    noun = "line" if len(numbers) == 1 else "lines"
    where = f" ({noun} {', '.join(shown)})" if numbers else ""
    return [Text(f"… and {len(left)} more of {code}{place}{where}", "yellow")]


def no_problems(
    *, dataset: str | None = None, key: str | None, code: str | None, others: int
) -> Lines:
    """No open problem matches the filters; how many others are open."""
    asked = "" if code is None else f" {code}"
    asked += "" if dataset is None else f" of dataset '{printable(dataset)}'"
    asked += "" if key is None else f" of '{printable(key)}'"
    return [Text(f"No problem{asked} is open.", "green"), *others_of(others, "other", "problems")]


def others_of(count: int, noun: str, command: str) -> Lines:
    """How many others a command lists without filters, if there are any."""
    verb = "is" if count == 1 else "are"
    return [sentence(f"{counted(count, noun)} {verb}: `./run.sh {command}`.")] if count else []


def _problem(problem: Mapping[str, Any]) -> str:
    place = [printable(problem["key"])]
    if problem["line"] is not None:
        place.append(f"line {problem['line']}")
    if problem["column"] is not None:
        place.append(f"column {printable(problem['column'])}")
    # Values are stored escaped, so they are safe to print.
    value = "" if problem["value"] is None else f": {problem['value']}"
    return f"{', '.join(place)}: {problem['severity']} {problem['code']}{value}"


# -- events


def subscriptions(found: Sequence[Subscription], *, event_listen: bool) -> Lines:
    """Each target with its events and keys, whether it is ours, and whether we listen."""
    lines: Lines = [] if found else [Text("There are no subscriptions.")]
    has_several = len({one.bucket for one in found}) > 1
    for one in found:
        where = f"{one.bucket}/" if has_several else ""
        keys = f"{one.prefix}*{one.suffix}"
        owner = "" if one.is_ours else f" (not ours: {one.id or 'no id'})"
        lines.append(Text(printable(f"{one.arn}: {', '.join(one.events)} of {where}{keys}{owner}")))
    if event_listen:
        lines.append(Text("The scheduler listens while it is up (EVENT_LISTEN)."))
    return lines


# -- env


def environment(settings: Settings, api_url: str | None) -> dict[str, str]:
    """The variables with which psql, the aws CLI, curl and our own commands reach this stack."""
    url, parts = for_libpq(settings.database_url)
    secret_key = settings.s3_secret_key and settings.s3_secret_key.get_secret_value()
    values = {
        "API_URL": api_url,
        "S3_ENDPOINT": settings.s3_endpoint,
        "S3_ACCESS_KEY": settings.s3_access_key,
        "S3_SECRET_KEY": secret_key,
        "AWS_ACCESS_KEY_ID": settings.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_DEFAULT_REGION": settings.s3_region,
        "DATABASE_URL": url,
        "PGHOST": parts.get("host"),
        "PGPORT": parts.get("port", "5432"),
        "PGUSER": parts.get("user"),
        "PGPASSWORD": parts.get("password"),
        "PGDATABASE": parts.get("dbname"),
    }
    return {name: value for name, value in values.items() if value}
