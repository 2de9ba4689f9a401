"""The account PostgreSQL runs under: it refuses root, so root uses an unprivileged one."""

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
    """The arguments of `subprocess.Popen` that change the user; empty if it does not change."""

    user: int
    group: int
    extra_groups: Sequence[int]


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged account of this machine."""

    name: str
    uid: int
    gid: int


def unprivileged_account(existing: Path) -> Account | None:
    """Return the account to run PostgreSQL under; None if this process is not root.

    The owner of `existing` data has priority, so that an account added later changes nothing.

    Raises:  ConfigurationError when root finds no unprivileged account.
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
        "PostgreSQL does not run as root, and this machine has no account postgres or nobody.",
        hint="Run Bucketline as another user, add an account postgres, or set DATABASE_URL.",
    )


def identity(account: Account | None) -> PopenIdentity:
    """Return the arguments that run a new process under `account`."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def can_enter(account: Account | None, directory: Path) -> bool:
    """Whether `account` can enter `directory` and all of its parents; true for None."""
    if account is None:
        return True
    command = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory)]
    done = subprocess.run(  # noqa: S603  (a fixed command)
        command, **identity(account), cwd="/", capture_output=True, check=False
    )
    return done.returncode == 0


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
