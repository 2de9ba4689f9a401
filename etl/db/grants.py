"""Privileges that are copied when tables move or are split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, text

from etl.db.identifiers import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

_TABLE_GRANTS = """
SELECT privilege_type, is_grantable,
       CASE grantee WHEN 0 THEN 'PUBLIC' ELSE CAST(CAST(grantee AS regrole) AS text) END AS grantee
FROM pg_class, aclexplode(relacl)
WHERE pg_class.oid = CAST(:table AS regclass) AND grantee <> relowner
"""
_GRANTEES = """
SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC'
                             ELSE CAST(CAST(grantee AS regrole) AS text) END
FROM (
    SELECT (aclexplode(relacl)).grantee, relowner FROM pg_class
    WHERE oid = CAST(:table AS regclass)
    UNION
    SELECT (aclexplode(attacl)).grantee, relowner FROM pg_attribute JOIN pg_class ON oid = attrelid
    WHERE attrelid = CAST(:table AS regclass)
) AS granted
WHERE grantee <> relowner
"""


def copy_grants(
    connection: Connection, source: str, target: str, *, only: str | None = None
) -> None:
    """Grant on one table what is granted on another, or `only` one privilege. Names are quoted."""
    for grant in _grants(connection, source):
        if only is None or grant.privilege_type == only:
            option = " WITH GRANT OPTION" if grant.is_grantable else ""
            connection.exec_driver_sql(
                f"GRANT {grant.privilege_type} ON {target} TO {grant.grantee}{option}"
            )


def grant_usage(connection: Connection, table: str, schema: str) -> None:
    """Let the roles that may use the table, or one of its columns, use the schema."""
    for grantee in connection.scalars(text(_GRANTEES), {"table": table}).all():
        connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {grantee}")


def _grants(connection: Connection, table: str) -> Sequence[Row[Any]]:
    return connection.execute(text(_TABLE_GRANTS), {"table": table}).all()
