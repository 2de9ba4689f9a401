"""`alert`: the open incidents and the last alerts, and a trial of their receiver."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from etl.cli import render
from etl.cli.common import database, print_json, print_report, print_result, stdout_console
from etl.model.errors import ConfigurationError
from etl.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etl.cli.render import Lines

LISTED = 20


@click.command("alert")
@click.option("--try", "is_trial", is_flag=True, help="Send a trial alert and print the answer.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def alert_command(*, is_trial: bool, as_json: bool) -> None:
    """List the open incidents and the last alerts, or try ALERT_URL.

    `up` and `schedule` send the alerts.
    """
    if is_trial:
        _try(as_json=as_json)
        return
    from etl.db import alerts
    from etl.services.alerts.texts import message

    with database() as (settings, connection):
        facts = {
            "incidents": alerts.open_incidents(connection),
            "alerts": [
                message(alert, settings.public_url) | delivery
                for alert, delivery in alerts.last(connection, LISTED)
            ],
        }
    print_report(facts, _lines, as_json=as_json, to=stdout_console())


def _try(*, as_json: bool) -> None:
    from etl.model.alerts import Alert, AlertEvent
    from etl.services.alerts.receiver import Receiver
    from etl.services.alerts.texts import message

    settings = read_settings()
    receiver = Receiver.of(settings)
    if receiver is None:
        raise ConfigurationError(
            "ALERT_URL is not set, so no alert is sent.",
            hint="Set it to the URL of a webhook; docs/how-to/get-alerts.md shows how.",
        )
    trial = Alert(str(uuid.uuid4()), AlertEvent.TRIAL, datetime.now(UTC))
    answer = receiver.send(message(trial, settings.public_url))
    if as_json:
        print_json({"host": receiver.host, "status": answer.status, "answer": answer.text})
    else:
        shown = f": {answer.text}" if answer.text else ""
        print_result(f"{receiver.host} answered {answer.status}{shown}")


def _lines(facts: Mapping[str, Any]) -> Lines:
    incidents, sent = facts["incidents"], facts["alerts"]
    lines: Lines = [Text(f"{render.counted(len(incidents), 'open incident')}.")]
    lines += [Text(f"  {_incident(one)}") for one in incidents]
    lines.append(Text(f"The last {render.counted(len(sent), 'alert')}:" if sent else "No alert."))
    for one in sent:
        lines.append(Text(f"  {one['at']}  {one['event']}: {_delivery(one)}"))
        lines.append(Text(f"    {one['text']}", style="dim"))
    return lines


def _incident(one: Mapping[str, Any]) -> str:
    names = " ".join(part for part in (one["event"], one["dataset"], one["code"]) if part)
    return f"{names}, since {render.iso(one['opened_at'])}"


def _delivery(one: Mapping[str, Any]) -> str:
    if one["sent_at"] is not None:
        return f"sent at {render.iso(one['sent_at'])}"
    attempts = render.counted(one["attempts"], "attempt")
    state = "given up" if one["given_up_at"] is not None else "not sent yet"
    return f"{state}, {attempts}" + (f": {one['last_error']}" if one["last_error"] else "")
