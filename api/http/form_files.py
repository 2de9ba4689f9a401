"""The files of an upload form and their object keys."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from api.http import object_keys
from api.http.errors import WrongParameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.http.forms import Form, FormFile

_FIELDS = ("file", "key", "prefix")


def named_files(form: Form) -> list[tuple[str, FormFile]]:
    """The form's files with their object keys, all checked before any is stored."""
    faults = list(_faults_in(form))
    if faults:
        raise WrongParameters(faults)
    prefix, key = form.fields.get("prefix", ""), form.fields.get("key")
    named = [(key or prefix + os.path.basename(file.filename), file) for file in form.files]  # noqa: PTH119
    for name, _ in named:
        object_keys.check(name, is_put=True)
    repeated = [name for name, times in Counter(name for name, _ in named).items() if times > 1]
    if repeated:
        raise WrongParameters([("file", f"stores {name!r} more than once") for name in repeated])
    return named


def _faults_in(form: Form) -> Iterator[tuple[str, str]]:
    """The missing fields of a form, and those that would be ignored."""
    for name in dict.fromkeys([*form.fields, *(file.name for file in form.files)]):
        if name not in _FIELDS:
            yield name, f"is not a field of this form; its fields are {', '.join(_FIELDS)}"
    if "file" in form.fields:
        yield "file", "is not a file: it has no file name"
    elif not form.files:
        yield "file", "is missing: send at least one file"
    for file in form.files:
        if file.name != "file" and file.name in _FIELDS:
            yield file.name, "must be text, not a file"
        elif not os.path.basename(file.filename):  # noqa: PTH119
            yield "file", "has no file name: no file was chosen"
    key = form.fields.get("key")
    if key == "":
        yield "key", "is empty"
    elif key is not None and len(form.files) > 1:
        yield "key", "names one object, but the form has several files; use prefix instead"
