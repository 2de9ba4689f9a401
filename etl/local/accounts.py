"""The account PostgreSQL runs under: it refuses root, so root lends it a plain one."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from etl.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class PopenIdentity(TypedDict, total=False):
    """The arguments of `subprocess.Popen` that change the user; empty for no change."""

    user: int
    group: int
    extra_groups: Sequence[int]


@dataclass(frozen=True, slots=True)
class Account:
    """A plain user of this machine."""

    name: str
    uid: int
    gid: int


def plain_account(existing: Path) -> Account | None:
    """The account to run under; None when this process is a plain user already.

    The owner of `existing` data keeps them, so that an account added later changes nothing.

    Raises:  ConfigurationError when root has no plain account to lend.
    """
    if os.geteuid() != 0:
        return None
    if existing.exists() and existing.stat().st_uid != 0:
        return _account(pwd.getpwuid(existing.stat().st_uid))
    for name in ("postgres", "nobody"):
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    raise ConfigurationError(
        "PostgreSQL does not run as root, and there is no account postgres or nobody here.",
        hint="Run Bucketline as a plain user, add an account postgres, or set DATABASE_URL.",
    )


def identity(account: Account | None) -> PopenIdentity:
    """What makes a new process run under `account`."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def can_enter(account: Account | None, directory: Path) -> bool:
    """Whether `account` reaches `directory` through all of its parents; None: we do already."""
    if account is None:
        return True
    command = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory)]
    tried = subprocess.run(  # noqa: S603  (a fixed command)
        command, **identity(account), cwd="/", capture_output=True, check=False
    )
    return tried.returncode == 0


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
