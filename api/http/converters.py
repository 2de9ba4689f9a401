"""What may stand in the place of an id in a URL."""

from __future__ import annotations

from werkzeug.routing import BaseConverter, IntegerConverter

from etl.storage.documents import NAME

MAX_ID = 2**63 - 1


class AnyTextConverter(BaseConverter):
    """An id or key: it may hold slashes, also at its end, percent signs or whatever it likes."""

    regex = r"[\s\S]+"
    part_isolating = False


class DocumentNameConverter(BaseConverter):
    """The name of a document; anything else is no document."""

    regex = NAME


class RunIdConverter(IntegerConverter):
    """A positive number that fits PostgreSQL's bigint, in ASCII digits."""

    regex = "[0-9]{1,19}"

    def __init__(self, map) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, A002
        super().__init__(map, min=1, max=MAX_ID)
