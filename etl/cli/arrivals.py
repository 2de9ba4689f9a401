"""Set up the events by which `up` learns of changes in the source buckets, and report how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl.model.errors import EtlError, ObjectStoreUnavailable
from etl.services.sources import source_buckets
from etl.settings.values import duration_text
from etl.storage.notifications import open_events, subscribe, wanted

if TYPE_CHECKING:
    from etl.settings import Settings
    from etl.storage.client import ObjectStore


@dataclass(slots=True)
class Arrivals:
    """Whether EVENT_ARNS and EVENT_LISTEN are set and work, and what is wrong with them."""

    buckets: list[str] = field(default_factory=list)
    sends: bool = False
    listens: bool = False
    could_listen: bool = True
    warnings: list[str] = field(default_factory=list)

    def sentence(self, settings: Settings, api_url: str) -> str:
        """How changes arrive, for the console."""
        bucket = ", ".join(self.buckets)
        full = f"the full run every {duration_text(settings.etl_interval)}"
        ways = self._ways(settings, f"{api_url}/minio-event")
        if ways:
            return f"Changes in {bucket} arrive as events ({'; '.join(ways)}) and in {full}."
        sentence = f"Changes in {bucket} are found by {full}."
        if self.warnings:
            return sentence
        if self.could_listen:
            return f"{sentence} To use events, set EVENT_LISTEN=1 or EVENT_ARNS."
        return (
            f"{sentence} The object store does not support listening. If it can send"
            " notifications, send them to the webhook `/minio-event` or to Kafka."
        )

    def _ways(self, settings: Settings, hook: str) -> list[str]:
        ways = []
        if self.listens:
            ways.append("the scheduler listens to the store")
        if self.sends:
            ways.append(f"the store sends them to {', '.join(settings.arns)}")
        if settings.webhook_tokens:
            ways.append(f"{hook} receives them")
        return ways


def set_up_events(settings: Settings, store: ObjectStore, *, is_ours: bool) -> Arrivals:
    """Subscribe EVENT_ARNS to all source buckets, and check whether the store supports listening.

    Missing support is a warning, not an error. The embedded store (`is_ours`) supports listening.
    """
    found = Arrivals(source_buckets(settings))
    if settings.arns:
        _subscribe(found, settings, store)
    can_listen = is_ours or _supports_listening(found, settings, store)
    found.listens, found.could_listen = settings.event_listen and can_listen, can_listen
    return found


def _subscribe(found: Arrivals, settings: Settings, store: ObjectStore) -> None:
    for bucket in found.buckets:
        try:
            subscribe(store, bucket, wanted(settings.arns))
            found.sends = True
        except EtlError as error:
            found.warnings.append(_sentence(error))
    if not found.sends:
        return
    if not settings.webhook_tokens and any(arn.endswith(":webhook") for arn in settings.arns):
        found.warnings.append(
            "WEBHOOK_TOKEN is not set, so the API rejects the store's webhook requests."
            " Set it to the webhook's token."
        )


def _supports_listening(found: Arrivals, settings: Settings, store: ObjectStore) -> bool:
    bucket = found.buckets[0]
    try:
        with store.translating(f"listen to {bucket}", bucket):
            open_events(store.probing_client(), bucket).close()
    except EtlError as error:
        if settings.event_listen:
            found.warnings.append(_sentence(error))
        return isinstance(error, ObjectStoreUnavailable)  # the scheduler tries again
    return True


def _sentence(error: EtlError) -> str:
    return f"{error.message} {error.hint}".strip()
