"""All expected failures, in one tree.

EtlError
├─ TransientError        retry with back-off: ObjectStoreUnavailable, DatabaseUnavailable,
│                        KafkaUnavailable, QueueUnavailable, TopicUnavailable, DaskUnavailable,
│                        ReceiverUnavailable, TemporaryFileFailed
├─ SourceError           quarantine this object and continue: UnreadableObject,
│                        RefusedObject; read it again: ObjectChanged; choose another key:
│                        ObjectExists, KeyConflict, InvalidKey; upload it again: FilesNotUploaded
├─ RunRefused            nothing was changed: RunAlreadyActive, ImageWorkerBusy, ListingOutOfOrder,
│                        RebuildRefused
├─ DatasetRefused        one dataset stays as it was; the run ends as DatasetsFailed and commits
│                        the others
├─ RunCanceled           someone canceled the run, which changed nothing
├─ WrongEvent            a message that is not a bucket notification; nothing was stored:
│                        SubscriptionNotice
├─ AccountingMismatch    the run's counters do not add up; nothing was committed
├─ AlertRejected         the receiver of alerts, or its address, must be changed
├─ ServiceNotStarted     ends `up`
├─ NotSupported          the object store cannot do it
└─ ConfigurationError    stop; name the setting and the remedy
   └─ DatabaseMisconfigured   also a DatabaseUnavailable: a command stops, a running process
                              waits: LoginRefused, RightMissing, NewerSchema, OlderSchema

Every leaf states what failed, on what, and what to do about it. Any other exception is a bug and
is reported as one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

    from etl.model.values import ProblemCode, RunReport


class EtlError(Exception):
    """Base class of expected failures: a message, a hint, and facts for the log.

    `public_message` replaces `message` in API responses when `message` contains an address or a
    server's error text, which only the log and the console may show.
    """

    hint: str = ""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        public_message: str | None = None,
        **facts: object,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.public_message = message if public_message is None else public_message
        if hint is not None:
            self.hint = hint
        self.facts = facts

    @property
    def code(self) -> str:
        """The stable name of this failure in logs and run reports."""
        return type(self).__name__

    def as_dict(self) -> dict[str, object]:
        """The value of `run.error`, which the API returns."""
        return {"code": self.code, "message": self.public_message, "hint": self.hint} | (
            {"facts": {name: str(value) for name, value in self.facts.items()}}
            if self.facts
            else {}
        )


class TransientError(EtlError):
    """An external service is down, or a disk full; the same call may succeed later."""


class ObjectStoreUnavailable(TransientError):
    """The object store did not respond, or not in time."""

    hint = "Check that S3_ENDPOINT is reachable. The next run retries; nothing is lost."


class DatabaseUnavailable(TransientError):
    """PostgreSQL did not respond, or dropped the connection."""

    hint = "Check that DATABASE_URL is reachable. The next run retries; nothing is lost."


class KafkaUnavailable(TransientError):
    """No Kafka broker responded, or it did not accept a message."""

    hint = "Check that KAFKA_BOOTSTRAP_SERVERS is reachable and this user has access to the topics."


class QueueUnavailable(TransientError):
    """SQS did not respond, or asks to retry later."""

    hint = "Check that the host in SQS_QUEUE_URL is reachable. SQS keeps the messages meanwhile."


class TopicUnavailable(TransientError):
    """SNS did not respond, or asks to retry later."""

    hint = "Check that this machine can reach SNS. SNS sends its request for confirmation again."


class DaskUnavailable(TransientError):
    """The Dask scheduler did not respond, or has no workers."""

    hint = (
        "Check that DASK_SCHEDULER is reachable and has workers. The next run retries; nothing is"
        " lost."
    )


class ReceiverUnavailable(TransientError):
    """The receiver of alerts did not answer, or answered that it is not available."""

    hint = "Check that ALERT_URL is reachable from this machine."


class TemporaryFileFailed(TransientError):
    """The disk of the temporary files takes no more."""

    hint = (
        "Free space in the folder of temporary files, or set TMPDIR to one on a larger disk. The "
        "next run tries again; nothing is lost."
    )


class SourceError(EtlError):
    """One object cannot be used; the run continues without it."""


class UnreadableObject(SourceError):
    """The store denies access to this object, or it is replaced whenever it is read."""


class ObjectExists(SourceError):
    """An object with the key of a new object exists already."""

    hint = "Choose another key, or replace the object without the condition."


class KeyConflict(SourceError):
    """The key of an object is a folder already, or one of its folders is an object."""

    hint = "Choose another key: this store does not allow a folder and an object of the same name."


class InvalidKey(SourceError):
    """The store does not accept this object key."""

    hint = "Choose another key."


class FilesNotUploaded(SourceError):
    """Some files could not be read or have no valid object key."""

    hint = "Correct the files listed above and upload them again; all others were uploaded."


class NotSupported(EtlError):
    """The object store does not support the requested operation."""


class ObjectChanged(SourceError):
    """The object was replaced or removed while it was read in parts, or before it was written."""


class RefusedObject(SourceError):
    """The content of the object cannot be read, so none of its rows is loaded.

    `problem_code` and the message, a hint, are those of its problem; `value` is what is shown.
    """

    def __init__(self, problem_code: ProblemCode, message: str, value: str | None = None) -> None:
        super().__init__(message)
        self.problem_code = problem_code
        self.value = value


class RunRefused(EtlError):
    """The run stopped before it changed anything."""


class RunAlreadyActive(RunRefused):
    """Another run holds the run lock."""

    hint = "Wait until it ends (see `./run.sh status`), or pass --wait."


class ImageWorkerBusy(RunRefused):
    """Another process is processing images and holds the lock."""

    hint = "It processes the pending images. Pass --wait to start after it ends."


class ListingOutOfOrder(RunRefused):
    """The store does not list keys in UTF-8 byte order."""

    hint = "Use a store that lists keys in UTF-8 byte order, as S3 does, so that none is missed."


class RebuildRefused(RunRefused):
    """A rebuild would retire most rows of its dataset."""


class DatasetRefused(EtlError):
    """A dataset could not be read or merged; its table and its manifest stay as they were."""

    hint = "The log has the details. Correct the cause; every full run tries again."


class DatasetsFailed(EtlError):
    """A run committed some datasets, but not all. `report` is that of the run, once it ended."""

    hint = "The next full run tries again; see the errors of the datasets."
    report: RunReport | None = None


class RunCanceled(EtlError):
    """Someone canceled the run."""

    hint = "Nothing was changed. The next run finds what this one would have committed."

    @classmethod
    def before_start(cls) -> Self:
        """The error of a request."""
        return cls("The run was canceled before it began.")

    @classmethod
    def before_commit(cls) -> Self:
        """The error of an active run."""
        return cls("The run was canceled before it committed.")


class WrongEvent(EtlError):
    """A message is not a bucket notification."""

    hint = "Send an S3 event notification: a JSON object with a list of Records."


class SubscriptionNotice(WrongEvent):
    """SNS asks to confirm a subscription to `topic`, or says that one ended.

    `token` confirms the subscription; None for one that ended.
    """

    def __init__(self, message: str, *, topic: str, token: str | None = None) -> None:
        hint = "If that was not intended, subscribe it again."
        if token is not None:
            hint = (
                "To confirm it, run `aws sns confirm-subscription"
                f" --topic-arn {topic} --token {token}`."
            )
        super().__init__(message, hint=hint)
        self.topic = topic
        self.token = token


class AlertRejected(EtlError):
    """The receiver of alerts rejects them, redirects, or has an invalid certificate."""

    hint = "Check ALERT_URL and the receiver."


class ServiceNotStarted(EtlError):
    """A process of `up` crashed before it was ready."""


class AccountingMismatch(EtlError):
    """Rows read differ from rows loaded + unchanged + shadowed + rejected."""

    hint = "Nothing was committed. This is a bug in Bucketline: please report the run's counters."


class ConfigurationError(EtlError):
    """A setting is missing or invalid, or this machine does not support it."""


class NotificationsUnsupported(ConfigurationError):
    """The object store does not support bucket notifications, or listening to them."""


class DatabaseMisconfigured(ConfigurationError, DatabaseUnavailable):
    """PostgreSQL responds, but Bucketline cannot use the database of DATABASE_URL.

    A command ends with exit code 2. A running process waits until this is corrected.
    """


class LoginRefused(DatabaseMisconfigured):
    """PostgreSQL rejects the user, the password, the database or a connection option."""


class RightMissing(DatabaseMisconfigured):
    """The role can log in, but lacks a privilege that Bucketline needs."""


class NewerSchema(DatabaseMisconfigured):
    """A newer version of Bucketline has migrated the tables."""


class OlderSchema(DatabaseMisconfigured):
    """The tables are missing, or older than this version of Bucketline needs."""

    hint = "Run `./run.sh migrate`."
