"""The faults of a datasets file, each with its place and its remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

from etl.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from typing import NoReturn

    from etl.settings.datasets.lines import KeyPath

_ALIKE = 0.6
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class DeclarationFault:
    """One fault of a declaration: what is wrong where, and what to write instead."""

    file: str
    line: int
    path: KeyPath
    fault: str
    remedy: str

    def sentence(self) -> str:
        """The fault for the operator."""
        place = ", ".join(filter(None, [self.file, f"line {self.line}", path_text(self.path)]))
        return f"{place}: {self.fault} {self.remedy}"


@dataclass(frozen=True, slots=True)
class FaultReport:
    """Collects the faults of one file; the reports of several files may share their list."""

    file: str
    lines: Mapping[KeyPath, int]
    faults: list[DeclarationFault] = field(default_factory=list)

    def add(self, path: KeyPath, fault: str, remedy: str) -> None:
        """Report a fault at a key; if the key is missing, at the table that lacks it."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        self.faults.append(
            DeclarationFault(self.file, self.lines.get(known, 1), path, fault, remedy)
        )

    def raise_faults(self) -> None:
        """Raise one error with all faults, if there are any.

        Raises:  ConfigurationError.
        """
        if self.faults:
            refuse(
                self.file, sorted(dict.fromkeys(self.faults), key=lambda one: (one.file, one.line))
            )


def refuse(file: str, faults: list[DeclarationFault]) -> NoReturn:
    """Raise one error for all these faults of a file."""
    sentences = [one.sentence() for one in faults]
    if len(faults) > 1:
        sentences.insert(0, f"{file} has {len(faults)} faults.")
    raise ConfigurationError("\n".join(sentences), hint=f"Correct {file}, then try again.")


def refuse_file(path: Path, fault: str, remedy: str, *, line: int | None = None) -> NoReturn:
    """Raise an error for a file that cannot be parsed."""
    place = str(path) if line is None else f"{path}, line {line}"
    raise ConfigurationError(f"{place}: {fault}", hint=remedy)


def path_text(path: KeyPath) -> str:
    """The path as it could be written in TOML, with the places in lists in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _BARE.fullmatch(part) else f'"{part}"'
            text += f".{name}" if text else name
    return text


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """The known name that was most likely meant: `primary_key` for `primaryKey`."""
    by_letters = {_letters(one): one for one in known}
    found = get_close_matches(_letters(name), list(by_letters), n=1, cutoff=_ALIKE)
    return by_letters[found[0]] if found else None


def suggestion(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """The remedy for an unknown name."""
    meant = did_you_mean(name, known)
    return otherwise if meant is None else f"Did you mean {meant}?"


def _letters(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")
