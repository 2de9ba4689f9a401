"""The message of an alert: one text for people, and the facts for programs.

The same alert always gives the same message, so that one that is sent again is equal.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from etl.model.alerts import Alert, AlertEvent, Lateness
from etl.model.phrases import counted
from etl.runtime.program import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

MOST_INCIDENTS = 100  # in a message
_SHOWN = 5  # of a list, in the text
_LONGEST = 3_000  # characters of a text


def message(alert: Alert, public_url: str | None = None) -> dict[str, Any]:
    """The JSON object to be sent; links begin with `public_url`, or are only paths."""
    link = (public_url or "").rstrip("/") + _page(alert)
    text = named(" ".join(_SENTENCES[alert.event](alert)))
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "…"
    return {
        "id": alert.delivery_id,
        "event": str(alert.event),
        "text": f"{text} See {link}",
        "at": alert.at.isoformat(),
        "link": link,
        "run_id": alert.run_id,
        "recovers": alert.recovers and str(alert.recovers),
        "incidents": [dict(one) for one in alert.incidents[:MOST_INCIDENTS]],
        "incident_count": len(alert.incidents),
    }


def _page(alert: Alert) -> str:
    """The path of the dashboard's page that helps most."""
    datasets = list(dict.fromkeys(one["dataset"] for one in alert.incidents))
    if alert.event is AlertEvent.NEW_PROBLEMS:
        chosen = f"?dataset={quote(datasets[0], safe='')}" if len(datasets) == 1 else ""
        return f"/ui/problems{chosen}"
    return "/ui/" if alert.run_id is None else f"/ui/runs/{alert.run_id}"


# -- the sentences of each event


def _run_failed(alert: Alert) -> Iterable[str]:
    whole = [one for one in alert.incidents if not one["dataset"]]
    for one in whole:
        if alert.run_id is None:
            yield f"No run has been possible since {_time(one['since'])}."
        else:
            yield f"Run {alert.run_id:,} failed at {_time(one['since'])}. Nothing was changed."
        yield from _error(one)
    failed = [one for one in alert.incidents if one["dataset"]]
    if failed:
        names = _listed([one["dataset"] for one in failed])
        yield f"Run {alert.run_id:,} did not commit {names}; the other datasets are committed."
        errors = {tuple(_error(one)): None for one in failed}
        for sentences in list(errors)[:_SHOWN]:
            yield from sentences


def _error(incident: Mapping[str, Any]) -> Iterable[str]:
    error = incident["error"]
    yield from (_sentence(error[name]) for name in ("message", "hint") if error.get(name))


def _held(alert: Alert) -> Iterable[str]:
    shown = alert.incidents[:_SHOWN]
    for one in shown:
        yield (
            f"{one['rows']:,} of {counted(one['live'], 'row')} of {one['dataset']} would be"
            f" retired and wait for permission, because {counted(one['objects'], 'object')}"
            f" {'is' if one['objects'] == 1 else 'are'} gone or lost rows."
        )
    if len(alert.incidents) > len(shown):
        yield f"So do rows of {len(alert.incidents) - len(shown):,} more datasets."
    yield (
        f"If that is right, allow it: `./run.sh run --allow-mass-retirement {shown[0]['dataset']}`."
        " If not, upload the objects again. Until then, the rows stay."
    )


def _new_problems(alert: Alert) -> Iterable[str]:
    by_dataset: dict[str, list[str]] = defaultdict(list)
    for one in alert.incidents:
        by_dataset[one["dataset"]].append(f"{one['count']:,} {one['code']}")
    found = [
        f"{_listed(codes)} in {name or 'objects of no dataset'}"
        for name, codes in by_dataset.items()
    ]
    yield f"Run {alert.run_id:,} found new kinds of problems: {_listed(found, '; ', '; ')}."
    yield "The rows or objects at fault are not loaded; all others are."
    (name, *others) = by_dataset
    option = f" --dataset {name}" if name and not others else ""
    yield f"`./run.sh problems{option}` lists each problem with its line and a hint."


def _late(alert: Alert) -> Iterable[str]:
    (one,) = alert.incidents
    last, count = _time(one["last"]), one["count"]
    if one["reason"] == Lateness.FULL_RUN:
        yield f"No full run has succeeded since {last}."
    elif one["reason"] == Lateness.CHANGES:
        has = "change has" if count == 1 else "changes have"
        yield f"{count:,} {has} been waiting for a run since {last}."
    else:
        yield f"The changes that were committed at {last} have not been published."
    yield "`./run.sh status` shows the last runs and their errors."


def _recovered(alert: Alert) -> Iterable[str]:
    assert alert.recovers is not None  # noqa: S101 - each of them recovers an event
    yield from _ENDS[alert.recovers](alert)


def _trial(_alert: Alert) -> Iterable[str]:
    yield "This is a trial alert of Bucketline. Nothing is wrong."


_SENTENCES: dict[AlertEvent, Callable[[Alert], Iterable[str]]] = {
    AlertEvent.RUN_FAILED: _run_failed,
    AlertEvent.RETIREMENT_HELD: _held,
    AlertEvent.NEW_PROBLEMS: _new_problems,
    AlertEvent.LATE: _late,
    AlertEvent.RECOVERED: _recovered,
    AlertEvent.TRIAL: _trial,
}


# -- ends


def _run_failed_ended(alert: Alert) -> Iterable[str]:
    for one in alert.incidents:
        since = _time(one["since"])
        if one["dataset"]:
            yield f"{one['dataset']} is committed again; it had failed since {since}."
        else:
            yield f"Runs succeed again; they had failed since {since}."


def _held_ended(alert: Alert) -> Iterable[str]:
    for one in alert.incidents:
        yield f"No row of {one['dataset']} is held any more; some were since {_time(one['since'])}."


def _problems_ended(alert: Alert) -> Iterable[str]:
    by_dataset: dict[str, list[str]] = defaultdict(list)
    for one in alert.incidents:
        by_dataset[one["dataset"]].append(one["code"])
    for name, codes in by_dataset.items():
        where = name or "Objects of no dataset"
        has = "has" if name else "have"
        yield f"{where} {has} no problem {_listed(codes, ', ', ' or ')} any more."


def _late_ended(alert: Alert) -> Iterable[str]:
    (one,) = alert.incidents
    yield f"Runs are on time again; they had been late since {_time(one['since'])}."


_ENDS: dict[AlertEvent, Callable[[Alert], Iterable[str]]] = {
    AlertEvent.RUN_FAILED: _run_failed_ended,
    AlertEvent.RETIREMENT_HELD: _held_ended,
    AlertEvent.NEW_PROBLEMS: _problems_ended,
    AlertEvent.LATE: _late_ended,
}


# -- words


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _sentence(text: str) -> str:
    """The text on one line, with a period."""
    line = " ".join(text.split())
    return line if line.endswith((".", "!", "?", "…")) else f"{line}."


def _listed(names: Sequence[str], separator: str = ", ", last: str = " and ") -> str:
    """The first names, and how many more there are."""
    shown, rest = list(names[:_SHOWN]), len(names) - _SHOWN
    if rest > 0:
        shown.append(f"{rest:,} more")
    *most, final = shown
    return f"{separator.join(most)}{last}{final}" if most else final
