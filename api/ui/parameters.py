"""The parameters in the URL of a page: an empty one counts as none."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import request

from api.http.errors import WrongParameters

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_MAX_DIGITS = 18  # of a bigint


def given(name: str) -> str | None:
    """The text of a parameter."""
    return request.args.get(name) or None


def number(name: str) -> int | None:
    """The positive number in a parameter, perhaps with the commas that pages show: 8,131.

    Raises:  WrongParameters.
    """
    text = None if given(name) is None else request.args[name].replace(",", "")
    if text is not None and not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise WrongParameters([(name, "must be a positive number")])
    return None if text is None else int(text)


def one_of(name: str, known: Collection[str]) -> str | None:
    """The parameter, which is one of these texts.

    Raises:  WrongParameters.
    """
    text = given(name)
    if text is not None and text not in known:
        raise WrongParameters([(name, f"must be one of {', '.join(known)}")])
    return text


def address(path: str, pairs: Iterable[tuple[str, str]]) -> str:
    """The URL of a page with these parameters.

    A parameter may have the name of any column, so also of an argument of url_for, which therefore
    cannot add them.
    """
    query = urlencode(list(pairs))
    return f"{path}?{query}" if query else path
