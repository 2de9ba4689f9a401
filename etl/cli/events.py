"""`./run.sh events`: subscribe to the bucket's notifications, listen for them, consume queues."""

from __future__ import annotations

import click

from etl.cli import render
from etl.cli.common import InOrder, print_report, print_result, running_stack, stdout_console
from etl.model.errors import ConfigurationError

# Modules that only one command needs are imported when it runs.


@click.group("events", cls=InOrder)
def events_group() -> None:
    """Receive bucket notifications and manage subscriptions."""


_prefix = click.option("--prefix", default="", help="Only object keys with this prefix.")
_suffix = click.option("--suffix", default="", help="Only object keys with this suffix.")
_arns = click.option(
    "--arn",
    "arns",
    multiple=True,
    metavar="ARN",
    help="A notification target of the store; by default EVENT_ARNS.",
)


@events_group.command("subscribe")
@_arns
@_prefix
@_suffix
def subscribe_command(*, arns: tuple[str, ...], prefix: str, suffix: str) -> None:
    """Subscribe notification targets to the source bucket of every dataset.

    Subscriptions of other programs are not changed. `up` does this for EVENT_ARNS.
    """
    from etl.services.sources import source_buckets
    from etl.storage.client import ObjectStore
    from etl.storage.notifications import subscribe, wanted

    with running_stack() as settings:
        asked = wanted(arns or settings.arns, prefix=prefix, suffix=suffix)
        if not asked:
            raise ConfigurationError(
                "No target to subscribe is given.",
                hint="Name one with --arn or EVENT_ARNS, such as arn:minio:sqs::1:webhook.",
            )
        store = ObjectStore(settings)
        for bucket in source_buckets(settings):
            new = subscribe(store, bucket, asked)
            for one in asked:
                state = "is now subscribed" if one in new else "was already subscribed"
                print_result(f"{one.arn} {state} to {bucket}.")


@events_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def subscriptions_command(*, as_json: bool) -> None:
    """List the notification subscriptions of the source buckets."""
    from etl.services.sources import source_buckets
    from etl.storage.client import ObjectStore
    from etl.storage.notifications import subscriptions

    with running_stack() as settings:
        store = ObjectStore(settings)
        found = [one for name in source_buckets(settings) for one in subscriptions(store, name)]
    print_report(
        found,
        lambda them: render.subscriptions(them, event_listen=settings.event_listen),
        as_json=as_json,
        to=stdout_console(),
    )


@events_group.command("unsubscribe")
@click.option("--arn", "arns", multiple=True, metavar="ARN", help="Only those of this target.")
def unsubscribe_command(*, arns: tuple[str, ...]) -> None:
    """Remove our subscriptions of these targets, or all of ours."""
    from etl.services.sources import source_buckets
    from etl.storage.client import ObjectStore
    from etl.storage.notifications import unsubscribe

    with running_stack() as settings:
        store = ObjectStore(settings)
        removed = [
            one for name in source_buckets(settings) for one in unsubscribe(store, name, arns)
        ]
    print_result(f"{render.counted(len(removed), 'subscription')} removed.")


@events_group.command("listen")
@_prefix
@_suffix
def listen_command(*, prefix: str, suffix: str) -> None:
    """Listen to the store until Ctrl-C, for stores that cannot send notifications to us."""
    from etl.services.listener import listen

    with running_stack(quiet=False) as settings:
        listen(settings, prefix=prefix, suffix=suffix)


@events_group.command("kafka")
def events_kafka_command() -> None:
    """Consume the store's notifications from Kafka until Ctrl-C."""
    from etl.services.kafka import require_client

    require_client()
    from etl.services.kafka.consumer import consume

    with running_stack(quiet=False) as settings:
        consume(settings)


@events_group.command("sqs")
def events_sqs_command() -> None:
    """Consume the bucket's notifications from SQS until Ctrl-C."""
    from etl.services.sqs.consumer import consume

    with running_stack(quiet=False) as settings:
        consume(settings)
