"""What must hold when any files are described."""

from __future__ import annotations

from etl.model.errors import ConfigurationError
from tests.described_files import described
from tests.fuzz.laws import LawBroken


def check_described(files: dict[str, bytes]) -> None:
    """A declaration is printed, or the files are refused with what to do."""
    try:
        found = described(files)
    except ConfigurationError as refused:
        if not (refused.hint and refused.message.isprintable() and refused.hint.isprintable()):
            raise LawBroken("a refusal has a hint that can be shown") from refused
        if refused.message.startswith("datasets.toml"):
            raise LawBroken("the declaration is valid") from refused
        return
    found.text.encode()
    if any(not one.isprintable() for one in found.text.split("\n")):
        raise LawBroken("the declaration can be shown")
    for one in (*found.unread, *found.rejected):
        if not (one.note and one.note.isprintable()):
            raise LawBroken("a problem has a hint that can be shown")
