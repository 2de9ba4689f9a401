"""`doctor`: what the object store can do, and what Bucketline does without the rest."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from rich.text import Text

from etl import local
from etl.cli.common import (
    EXIT_FAILED,
    print_json,
    print_lines,
    progress_bar,
    stdout_console,
)
from etl.cli.render import counted, sentence
from etl.model.capabilities import Capability, CapabilityAnswer
from etl.runtime.logs import set_up_logs
from etl.settings import read_settings

if TYPE_CHECKING:
    from etl.cli.render import Lines
    from etl.settings import Settings
    from etl.storage.probe import StoreReport

_STYLES = {
    CapabilityAnswer.YES: "green",
    CapabilityAnswer.NO: "yellow",
    CapabilityAnswer.UNKNOWN: "dim",
}


@click.command("doctor")
@click.option("--store", "is_of_store", is_flag=True, help="Try what the object store can do.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor_command(*, is_of_store: bool, as_json: bool) -> None:
    """Try what the object store can do: doctor --store.

    It says what Bucketline does without the rest. It puts objects into DOCUMENT_BUCKET, below
    .bucketline/, and removes them again; to try versioning, it creates and removes a bucket. Keys
    that may only read leave some answers unknown. Exits with 1 if the store lacks what Bucketline
    requires.
    """
    if not is_of_store:
        raise click.UsageError("Name what to examine: --store.")
    settings = read_settings()
    set_up_logs(settings.log_format, quiet=True)
    with local.running(settings) as filled:
        report = _examined(filled, makes_buckets=settings.embeds_object_store, hidden=as_json)
    if as_json:
        print_json(as_dict(report))
    else:
        print_lines(stdout_console(), lines(report))
    if not report.is_usable or report.left:
        sys.exit(EXIT_FAILED)


def _examined(settings: Settings, *, makes_buckets: bool, hidden: bool) -> StoreReport:
    from etl.storage.client import ObjectStore
    from etl.storage.probe import StoreProbe

    if makes_buckets:
        for bucket in settings.buckets:
            ObjectStore(settings).ensure_bucket(bucket)
    with progress_bar(hidden=hidden) as bar:
        task = bar.add_task("doctor", total=len(Capability))
        return StoreProbe(settings).run(lambda _: bar.advance(task))


def as_dict(report: StoreReport) -> dict[str, object]:
    """The report as JSON."""
    return {
        "endpoint": report.endpoint,
        "source_bucket": report.read_bucket,
        "document_bucket": report.write_bucket,
        "is_usable": report.is_usable,
        "not_writable": report.denial or None,
        "not_removed": report.left,
        "capabilities": [one.as_dict() for one in report.findings],
    }


def lines(report: StoreReport) -> Lines:
    """The report for people: a line for each capability, then what follows from those lacking."""
    shown: Lines = [Text(f"Object store {report.endpoint}", style="bold")]
    for one in report.findings:
        detail = f" ({one.detail})" if one.detail else ""
        line = Text(f"  {one.answer:<8}", style=_STYLES[one.answer])
        line.append(f"{_plain(one.capability.meaning)}{detail}", style="default")
        shown.append(line)
    lacking = [one for one in report.findings if one.answer is CapabilityAnswer.NO]
    if lacking:
        shown.append(Text("Without:"))
    for one in lacking:
        style = "red" if one.is_fault else ""
        shown.append(sentence(f"  {one.capability}: {_plain(one.capability.without)}.", style))
    if report.denial:
        shown.append(sentence(f"Nothing could be put into {report.write_bucket}: {report.denial}"))
    if report.left:
        shown.append(Text("Not removed; remove it yourself:", style="red"))
        shown += [Text(f"  {report.write_bucket}/{key}") for key in report.left]
    shown.append(_verdict(report))
    return shown


def _verdict(report: StoreReport) -> Text:
    faults = [one.capability.value for one in report.findings if one.is_fault]
    if faults:
        return Text(f"This store lacks what Bucketline requires: {', '.join(faults)}.", style="red")
    unknown = sum(one.answer is CapabilityAnswer.UNKNOWN for one in report.findings)
    rest = f" {counted(unknown, 'answer')} unknown." if unknown else ""
    return Text(f"Bucketline works with this store.{rest}")


def _plain(text: str) -> str:
    return text.replace("`", "")
