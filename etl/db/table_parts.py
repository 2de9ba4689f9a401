"""What the definitions of tables share."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, DateTime, MetaData, Text, text

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_name)s_idx",
        "uq": "%(table_name)s_%(column_0_name)s_key",
    }
)

ByteText = Text(collation="C")
Timestamp = DateTime(timezone=True)


def count(name: str) -> Column[int]:
    """A column that counts from 0."""
    return Column(name, BigInteger, nullable=False, server_default=text("0"))
