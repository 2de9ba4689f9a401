"""URL converters: which text is accepted as an ID or name in a path."""

from __future__ import annotations

from werkzeug.routing import BaseConverter, IntegerConverter

from etl.storage.documents import NAME

MAX_ID = 2**63 - 1


class AnyTextConverter(BaseConverter):
    """An ID or key: any text, including slashes, also at its end."""

    regex = r"[\s\S]+"
    part_isolating = False


class DocumentNameConverter(BaseConverter):
    """A valid name of a document; other names do not match the route."""

    regex = NAME


class RunIdConverter(IntegerConverter):
    """A positive number that fits PostgreSQL's bigint, in ASCII digits."""

    regex = "[0-9]{1,19}"

    def __init__(self, map) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, A002
        super().__init__(map, min=1, max=MAX_ID)
