"""Identifiers as SQL text: quoted, so that any name is possible and none becomes syntax."""

from __future__ import annotations


def quoted(name: str) -> str:
    """The name as a quoted identifier, for SQL that goes to the driver as it is."""
    return '"' + name.replace('"', '""') + '"'


def in_text(name: str) -> str:
    """The name as a quoted identifier in SQLAlchemy's `text`, where a colon marks a parameter."""
    return quoted(name).replace(":", r"\:")
