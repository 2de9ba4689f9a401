"""Every way a run can fail, in one tree.

EtlError
├─ TransientError        retry with back-off: ObjectStoreUnavailable, DatabaseUnavailable,
│                        KafkaUnavailable
├─ SourceError           quarantine this object and go on: UnreadableObject, WrongColumns;
│                        read it again: ObjectChanged, Undecodable; put it
│                        elsewhere: ObjectExists, KeyConflict, InvalidKey; upload it again:
│                        FilesNotUploaded
├─ RunRefused            nothing was changed: RunAlreadyActive, ImageWorkerBusy, MassRetirement,
│                        ListingOutOfOrder
├─ WrongEvent            a message that is no notification of a bucket; nothing was stored
├─ AccountingMismatch    the run's figures do not add up; nothing was committed
├─ ServiceNotStarted     `up` ends with it
├─ NotSupported          the object store cannot do it
└─ ConfigurationError    stop; name the variable and the remedy
   └─ DatabaseMisconfigured   also a DatabaseUnavailable: a command stops, a running process
                              waits: LoginRefused, RightMissing, NewerSchema, OlderSchema

Every leaf says what failed, on what, and what to do about it. Anything raised
outside this tree is a bug and should look like one.
"""

from __future__ import annotations


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
        """The stable name of this failure, as logs and run reports show it."""
        return type(self).__name__

    def as_dict(self) -> dict[str, object]:
        """What `run.error` stores and the API shows."""
        return {"code": self.code, "message": self.public_message, "hint": self.hint} | (
            {"facts": {name: str(value) for name, value in self.facts.items()}}
            if self.facts
            else {}
        )


class TransientError(EtlError):
    """Something outside is down; the same call may work later."""


class ObjectStoreUnavailable(TransientError):
    """The object store did not answer, or not in time."""

    hint = "Check that S3_ENDPOINT answers; the next run starts where this one did."


class DatabaseUnavailable(TransientError):
    """PostgreSQL did not answer, or dropped the connection."""

    hint = "Check that DATABASE_URL answers; the next run starts where this one did."


class KafkaUnavailable(TransientError):
    """No Kafka broker answered, or it took no message."""

    hint = "Check that KAFKA_BOOTSTRAP_SERVERS answers, and lets this user at the topics."


class SourceError(EtlError):
    """One object cannot be used; the run goes on without it."""


class UnreadableObject(SourceError):
    """The store refuses to hand out this object, or its bytes are no text."""


class WrongColumns(SourceError):
    """A CSV whose header is not one we can use."""


class ObjectExists(SourceError):
    """There is an object where one was to be put only if there is none."""

    hint = "Choose another key, or put it without the condition to replace it."


class KeyConflict(SourceError):
    """Where an object was to be put lies a folder, or an object where it needs a folder."""

    hint = "Choose another key: in this store an object cannot be a folder as well."


class InvalidKey(SourceError):
    """The store takes no object under such a key."""

    hint = "Choose another key."


class FilesNotUploaded(SourceError):
    """Files that were to be uploaded could not be read, or cannot be objects."""

    hint = "Correct the files named above and upload them again; the other files were uploaded."


class NotSupported(EtlError):
    """The object store does not support the requested operation."""


class ObjectChanged(SourceError):
    """The object was replaced or removed: while it was read in parts, or before a write on it."""


class Undecodable(SourceError):
    """No encoding fits the bytes of the object."""


class RunRefused(EtlError):
    """The run stopped before it changed anything."""


class RunAlreadyActive(RunRefused):
    """Another run holds the run lock."""

    hint = "Wait for it to end (`./run.sh status`), or pass --wait."


class ImageWorkerBusy(RunRefused):
    """Another process makes thumbnails and holds the lock for it."""

    hint = "It makes what waits; to make it here, pass --wait."


class MassRetirement(RunRefused):
    """The run would retire more than half of the users."""

    hint = (
        "If the objects are meant to be gone, allow it by name: "
        "`./run.sh run --allow-mass-retirement`, or POST /data?allow=mass-retirement."
    )


class ListingOutOfOrder(RunRefused):
    """The store lists keys in an order other than UTF-8 bytes."""

    hint = "Use a store that lists in S3's order; a merge of unsorted listings would lose objects."


class WrongEvent(EtlError):
    """A message is not what a store sends about its buckets."""

    hint = "Send the JSON of S3 event notifications: an object with a list of Records."


class ServiceNotStarted(EtlError):
    """A process of `up` crashed before it was ready."""


class AccountingMismatch(EtlError):
    """Rows read are not rows loaded + unchanged + shadowed + rejected."""

    hint = "Nothing was committed. This is a fault of Bucketline: please report the run's figures."


class ConfigurationError(EtlError):
    """A setting is missing or wrong, or this machine cannot do what it asks."""


class DatabaseMisconfigured(ConfigurationError, DatabaseUnavailable):
    """PostgreSQL answers, but Bucketline cannot use what DATABASE_URL names.

    A command ends with exit code 2. A running process waits until it is corrected.
    """


class LoginRefused(DatabaseMisconfigured):
    """PostgreSQL refuses the user, the password, the database or the options of the connection."""


class RightMissing(DatabaseMisconfigured):
    """The role may log in, but lacks a right that Bucketline needs."""


class NewerSchema(DatabaseMisconfigured):
    """A newer version of Bucketline has migrated the tables."""


class OlderSchema(DatabaseMisconfigured):
    """The tables are missing, or of an older version than this program needs."""

    hint = "Run `./run.sh migrate`."
