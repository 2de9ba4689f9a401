"""`./run.sh events`: subscribe to what happens in the bucket, listen to it, read it from Kafka."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.console import Console

from etl.cli import render
from etl.cli.common import InOrder, live, print_json, print_result
from etl.model.errors import ConfigurationError

# What one command alone needs is imported where that command runs.


@click.group("events", cls=InOrder)
def events_group() -> None:
    """Hear of changes in the bucket as they happen."""


_prefix = click.option("--prefix", default="", help="Only keys that begin so.")
_suffix = click.option("--suffix", default="", help="Only keys that end so.")
_arns = click.option(
    "--arn",
    "arns",
    multiple=True,
    metavar="ARN",
    help="A target of the store; by default EVENT_ARNS.",
)


@events_group.command("subscribe")
@_arns
@_prefix
@_suffix
def subscribe_command(*, arns: tuple[str, ...], prefix: str, suffix: str) -> None:
    """Let the store send what changes in the source bucket to its targets.

    What others have subscribed stays as it is. `up` does this for EVENT_ARNS.
    """
    from etl.storage.client import ObjectStore
    from etl.storage.notifications import subscribe, wanted

    with live() as settings:
        asked = wanted(arns or settings.arns, prefix=prefix, suffix=suffix)
        if not asked:
            raise ConfigurationError(
                "There is no target to subscribe.",
                hint="Name the store's with --arn or EVENT_ARNS: arn:minio:sqs::1:webhook.",
            )
        new = subscribe(ObjectStore(settings), settings.source_bucket, asked)
    for one in asked:
        print_result(
            f"{one.arn} {'is now subscribed' if one in new else 'was already subscribed'}."
        )


@events_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def subscriptions_command(*, as_json: bool) -> None:
    """List who is told of changes in the source bucket."""
    from etl.storage.client import ObjectStore
    from etl.storage.notifications import subscriptions

    with live() as settings:
        found = subscriptions(ObjectStore(settings), settings.source_bucket)
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        render.subscriptions(Console(highlight=False), found, event_listen=settings.event_listen)


@events_group.command("unsubscribe")
@_arns
def unsubscribe_command(*, arns: tuple[str, ...]) -> None:
    """Take our subscriptions away: of these targets, or all of them."""
    from etl.storage.client import ObjectStore
    from etl.storage.notifications import unsubscribe

    with live() as settings:
        gone = unsubscribe(ObjectStore(settings), settings.source_bucket, arns)
    print_result(f"{render.counted(len(gone), 'subscription')} removed.")


@events_group.command("listen")
@_prefix
@_suffix
def listen_command(*, prefix: str, suffix: str) -> None:
    """Fetch the events, until Ctrl-C, from a store that cannot reach us."""
    from etl.services.listener import listen

    with live(quiet=False) as settings:
        listen(settings, prefix=prefix, suffix=suffix)


@events_group.command("kafka")
def events_kafka_command() -> None:
    """Take the store's notifications from Kafka, until Ctrl-C."""
    from etl.services.kafka import require_client

    require_client()
    from etl.services.kafka.consumer import consume

    with live(quiet=False) as settings:
        consume(settings)
