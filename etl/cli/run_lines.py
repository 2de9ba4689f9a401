"""What `run` and `up` print about a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from etl.cli import render
from etl.model.dataset import USERS
from etl.model.safe_text import printable
from etl.model.values import RunReport, RunState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from etl.cli.render import Lines
    from etl.model.values import Counts, DatasetCounts
    from etl.sync.preview import Previewed

STEPS = ("list", "read", "stage", "merge", "publish")


def report(run: RunReport, holds: Sequence[Mapping[str, Any]] = ()) -> Lines:
    """A run's report: all counters, how they add up, and the `holds` as `render.holds`."""
    counts, label = run.counts, width(run.dataset_counts)
    style = "green" if run.state is RunState.SUCCEEDED else "red"
    lines: Lines = [
        Text(f"Run {run.id} ({run.trigger}) {run.state} in {_duration(run)}.", style),
        Text(
            f"  {'objects':{label}} {counts.objects_listed} listed = {counts.objects_added} added"
            f" + {counts.objects_modified} modified + {counts.objects_unchanged} unchanged"
            f" + {counts.objects_ignored} ignored{_not_read(counts)}{_held(counts.objects_held)};"
            f" {counts.objects_removed} removed,"
            f" {counts.objects_quarantined} quarantined{_missed_by_events(counts)}"
        ),
        Text(
            f"  {'rows':{label}} {counts.rows_read} read = {counts.rows_loaded} loaded"
            f" + {counts.rows_unchanged} unchanged + {counts.rows_shadowed} shadowed"
            f" + {counts.rows_rejected} rejected{_held(counts.rows_held)}"
            f"{_waiting(counts.retirements_held)}"
        ),
        *_by_dataset(run, label),
    ]
    if run.step_seconds:
        lines.append(step_timings(run))
    lines += render.problem_count(counts.problems, label)
    lines += render.holds(holds)
    if run.error is not None:
        lines += render.indented(f"{run.error['message']} {run.error['hint']}", "red")
    return lines


def width(names: Iterable[str]) -> int:
    """The width of the first column of a report about these datasets."""
    return max([render.LABEL_WIDTH, *map(len, names)])


def _in_order(names: Iterable[str]) -> list[str]:
    """Users first, then the others by name: stored counts have no order of their own."""
    return sorted(names, key=lambda name: (name != USERS.name, name))


def _by_dataset(run: RunReport, label: int) -> list[Text]:
    """A line for each failed dataset, for users, and for each other dataset."""
    counts = run.counts
    others = {name: run.dataset_counts[name] for name in _in_order(run.dataset_counts)}
    lines = []
    failed = [name for name in _failed(run) if name in others]
    lines += [
        f"  {name:{label}} {others.pop(name).live} live; failed, and stays as it was"
        for name in failed
    ]
    if others.pop("users", None) is not None or not (others or failed):
        lines.append(
            f"  {'users':{label}} {counts.users_live} live,"
            f" {counts.users_with_image} with an image; {counts.users_inserted} inserted,"
            f" {counts.users_updated} updated, {counts.users_restored} restored,"
            f" {counts.users_retired} retired"
        )
    lines += [
        f"  {name:{label}} {one.live} live; {one.inserted} inserted, {one.updated} updated,"
        f" {one.restored} restored, {one.retired} retired; {one.rows_rejected} rejected"
        f"{_waiting(one.retirements_held)}"
        for name, one in others.items()
    ]
    return [Text(line) for line in lines]


def _failed(run: RunReport) -> list[str]:
    """The datasets that a run did not commit."""
    facts = (run.error or {}).get("facts")
    return str(facts.get("failed", "")).split(", ") if isinstance(facts, dict) else []


def _held(count: int) -> str:
    """Held objects, or the rows read of them, if there are any."""
    return f" + {count} held" if count else ""


def _waiting(count: int) -> str:
    """Rows of tables whose retirement waits for permission, if there are any."""
    return f"; {render.counted(count, 'retirement')} held" if count else ""


def step_timings(run: RunReport) -> Table:
    """Seconds and rows by step, in the order of the steps."""
    table = Table("  step", box=None)
    for name in ("seconds", "share", "rows", "rows/s"):
        table.add_column(name, justify="right")
    total = sum(run.step_seconds.values()) or 1
    for name in sorted(run.step_seconds, key=_position):
        seconds, rows = run.step_seconds[name], run.step_rows.get(name, 0)
        share, count = f"{seconds / total:.0%}", f"{rows:,}" if rows else ""
        rate = f"{rows / seconds:,.0f}" if rows and seconds else ""
        table.add_row(f"  {name}", f"{seconds:.3f}", share, count, rate)
    return table


def _position(step: str) -> int:
    """The position of a step in a run; unknown steps come last."""
    return STEPS.index(step) if step in STEPS else len(STEPS)


def _not_read(counts: Counts) -> str:
    """Objects that could not be read, if there are any."""
    fates = {"unreadable": counts.objects_unreadable, "vanished": counts.objects_vanished}
    return "".join(f" + {count} {fate}" for fate, count in fates.items() if count)


def _missed_by_events(counts: Counts) -> str:
    """Changes that no event named, if there are any."""
    return f", {counts.found_by_reconcile} found by reconcile" if counts.found_by_reconcile else ""


def _duration(run: RunReport) -> str:
    if run.started_at is None or run.finished_at is None:
        return "no time"
    return f"{(run.finished_at - run.started_at).total_seconds():.2f} s"


# -- a dry run


def preview(found: Previewed) -> Lines:
    """What a run would change by dataset: its table, numbers of rows, and some of their keys."""
    lines: Lines = [Text("Dry run: nothing was changed.", "green")]
    label = width(found.counts)
    for name in _in_order(found.counts.keys() - found.failures.keys()):
        counts = found.counts[name]
        numbers = _numbers(counts)
        listed = ", ".join(f"{count} {outcome}" for outcome, count in numbers.items())
        lines.append(
            Text(
                f"  {name:{label}} {counts.rows_read} read; {listed};"
                f" {counts.rows_rejected} rejected"
            )
        )
        lines += [Text(f"    {sentence}") for sentence in found.changes.get(name, ())]
        for outcome, keys in found.keys.get(name, {}).items():
            if keys:
                shown = ", ".join(" ".join(map(_cell, key)) for key in keys)
                more = " …" if numbers[outcome] > len(keys) else ""
                lines.append(Text(f"    {outcome}: {shown}{more}"))
        if counts.objects_held:
            held = (
                f"    held: {counts.objects_held} objects, because too many rows would be retired."
                f" `./run.sh run --allow-mass-retirement {name}` allows it."
            )
            lines.append(render.sentence(held, "red"))
    for failure in found.failures.values():
        lines += render.error(failure)
    return lines


def preview_json(found: Previewed) -> dict[str, Any]:
    """The same for programs."""
    return {
        "datasets": {
            name: {
                "changes": found.changes.get(name, []),
                "counts": counts,
                "keys": found.keys.get(name, {}),
            }
            for name, counts in found.counts.items()
            if name not in found.failures
        },
        "failures": {name: failure.as_dict() for name, failure in found.failures.items()},
    }


def _numbers(counts: DatasetCounts) -> dict[str, int]:
    return {
        "inserted": counts.inserted,
        "updated": counts.updated,
        "restored": counts.restored,
        "retired": counts.retired,
        "shadowed": counts.rows_shadowed,
    }


def _cell(value: object) -> str:
    return printable(str(value))
