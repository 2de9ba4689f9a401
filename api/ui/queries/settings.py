"""What the page of settings reads: versions, the datasets file, incidents and alerts."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from api.ui.states import WAITING, ShownState, StateShape
from etl.db import alerts, datasets_file, schema
from etl.db.engine import schemas_of
from etl.model.phrases import counted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from etl.db.datasets_file import StoredFile
    from etl.model.alerts import Alert

MOST_ALERTS = 20
_SENT = ShownState(StateShape.OK, "Sent")
_GIVEN_UP = ShownState(StateShape.FAILED, "Given up")
_RETRIED = ShownState(StateShape.WARNING, "Not sent yet")


@dataclass(frozen=True, slots=True)
class AlertLine:
    """An alert and what became of it; `about` names the datasets and codes."""

    at: datetime
    event: str
    about: tuple[str, ...]
    run_id: int | None
    state: ShownState
    sent_at: datetime | None
    note: str


@dataclass(frozen=True, slots=True)
class IncidentLine:
    """A fault that lasts."""

    event: str
    dataset: str
    code: str
    opened_at: datetime
    run_id: int | None


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What the database knows of the instance; `schema` is the version of our own tables."""

    postgres: str
    schema: str
    file: StoredFile | None
    incidents: tuple[IncidentLine, ...]
    alerts: tuple[AlertLine, ...]

    @property
    def delivered(self) -> AlertLine | None:
        """The alert that the receiver accepted last."""
        sent = [one for one in self.alerts if one.sent_at is not None]
        return max(sent, key=attrgetter("sent_at"), default=None)


def stored(connection: Connection) -> InstanceFacts:
    """What the database knows."""
    return InstanceFacts(
        str(connection.scalar(text("SHOW server_version"))),
        ", ".join(schema.versions(connection, schemas_of(connection.engine))),
        datasets_file.stored(connection),
        tuple(_incident(one) for one in alerts.open_incidents(connection)),
        tuple(_alert(*one) for one in alerts.last(connection, MOST_ALERTS)),
    )


def _incident(row: Mapping[str, Any]) -> IncidentLine:
    names = ("event", "dataset", "code", "opened_at", "run_id")
    return IncidentLine(*(row[name] for name in names))


def _alert(alert: Alert, delivery: Mapping[str, Any]) -> AlertLine:
    about = [" ".join(filter(None, (one["dataset"], one["code"]))) for one in alert.incidents]
    event = alert.event if alert.recovers is None else f"{alert.event}: {alert.recovers}"
    attempts = counted(delivery["attempts"], "attempt")
    error = delivery["last_error"]
    return AlertLine(
        alert.at,
        event,
        tuple(dict.fromkeys(filter(None, about))),
        alert.run_id,
        _state(delivery),
        delivery["sent_at"],
        f"{attempts}: {error}" if error else attempts,
    )


def _state(delivery: Mapping[str, Any]) -> ShownState:
    if delivery["sent_at"] is not None:
        return _SENT
    if delivery["given_up_at"] is not None:
        return _GIVEN_UP
    return _RETRIED if delivery["attempts"] else WAITING
