"""What object stores can do beyond the minimum of S3, and what Bucketline does without each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CapabilityAnswer(StrEnum):
    """Whether a store has a capability; unknown if that could not be tried."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Capability(StrEnum):
    """A capability; its name is stable, and the same in JSON and in the documents."""

    KEY_ORDER = "key-order"
    RANGES = "ranges"
    MULTIPART = "multipart"
    PRECISE_TIMES = "precise-times"
    LISTENING = "listening"
    SUBSCRIPTIONS = "subscriptions"
    CONDITIONAL_CREATION = "conditional-creation"
    CONDITIONAL_REPLACEMENT = "conditional-replacement"
    CONDITIONAL_REMOVAL = "conditional-removal"
    VERSIONING = "versioning"
    PRESIGNED_URLS = "presigned-urls"
    VIRTUAL_HOSTS = "virtual-hosts"
    ENCRYPTION = "encryption"

    @property
    def meaning(self) -> str:
        """What the store can do."""
        return _TEXTS[self][0]

    @property
    def without(self) -> str:
        """What Bucketline does with a store that cannot."""
        return _TEXTS[self][1]

    @property
    def is_required(self) -> bool:
        """Whether Bucketline cannot work without it."""
        return self in (Capability.KEY_ORDER, Capability.RANGES, Capability.MULTIPART)


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer for one capability, and what was seen."""

    capability: Capability
    answer: CapabilityAnswer
    detail: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether Bucketline cannot work with this store."""
        return self.answer is CapabilityAnswer.NO and self.capability.is_required

    def as_dict(self) -> dict[str, object]:
        """The finding as JSON."""
        return {
            "capability": self.capability.value,
            "meaning": self.capability.meaning,
            "answer": self.answer.value,
            "detail": self.detail,
            "without": self.capability.without,
            "is_required": self.capability.is_required,
        }


_NO_CONDITION = "The API answers a request with this condition with 501, and changes nothing"
_TEXTS = {
    Capability.KEY_ORDER: (
        "Lists keys in UTF-8 byte order",
        "Required: runs are refused (`ListingOutOfOrder`) while keys are in another order",
    ),
    Capability.RANGES: (
        "Returns a range of an object",
        "Required: large objects are read in parts",
    ),
    Capability.MULTIPART: (
        "Accepts an object in parts",
        "Required: outputs larger than 5 MiB are put in parts",
    ),
    Capability.PRECISE_TIMES: (
        "Lists times of objects in fractions of a second",
        "Of rows with the same key from objects put within a second, the smallest object key wins",
    ),
    Capability.LISTENING: (
        "Sends notifications over a connection (`EVENT_LISTEN`)",
        "Use a webhook or Kafka if the store can send to them; else full runs find the changes",
    ),
    Capability.SUBSCRIPTIONS: (
        "Keeps subscriptions of a bucket (`events subscribe`, `EVENT_ARNS`)",
        "Listen if the store supports that; else full runs find the changes",
    ),
    Capability.CONDITIONAL_CREATION: (
        "Creates an object only if there is none (`If-None-Match: *`)",
        _NO_CONDITION,
    ),
    Capability.CONDITIONAL_REPLACEMENT: (
        "Replaces an object only if it is unchanged (`If-Match`)",
        _NO_CONDITION,
    ),
    Capability.CONDITIONAL_REMOVAL: (
        "Removes an object only if it is unchanged (`If-Match`)",
        _NO_CONDITION,
    ),
    Capability.VERSIONING: (
        "Keeps versions of objects",
        (
            "An object that was replaced or removed cannot be recovered from the store. Runs read"
            " current versions only"
        ),
    ),
    Capability.PRESIGNED_URLS: (
        "Accepts presigned URLs",
        "Clients download and upload through `/objects`; previews of images stay empty",
    ),
    Capability.VIRTUAL_HOSTS: (
        "Serves a bucket at a host name of its own (`S3_ADDRESSING=virtual`)",
        "Buckets are addressed by path",
    ),
    Capability.ENCRYPTION: (
        "Encrypts objects on request (`S3_SSE`)",
        "Leave `S3_SSE` empty: every put would fail, or be stored without it",
    ),
}
