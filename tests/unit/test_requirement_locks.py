"""Each lock is complete: it names every package that is needed, at a version that will do.

`pip install --no-deps` installs what a lock names and nothing else. What is needed is told by the
metadata of the installed packages, read as on each platform that the locks are for.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import distribution, version
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
DIRECT: list[str] = PROJECT["project"]["dependencies"]
KAFKA: list[str] = PROJECT["project"]["optional-dependencies"]["kafka"]
DASK: list[str] = PROJECT["project"]["optional-dependencies"]["dask"]
OTEL: list[str] = PROJECT["project"]["optional-dependencies"]["otel"]
DEV: list[str] = PROJECT["dependency-groups"]["dev"]
LOCKS: dict[str, tuple[list[str], list[str]]] = {
    "runtime": (["requirements.lock"], DIRECT),
    "kafka": (["requirements.lock", "requirements-kafka.lock"], DIRECT + KAFKA),
    "dask": (["requirements.lock", "requirements-dask.lock"], DIRECT + DASK),
    "otel": (["requirements.lock", "requirements-otel.lock"], DIRECT + OTEL),
    "dev": (
        [
            *("requirements.lock", "requirements-kafka.lock", "requirements-otel.lock"),
            *("requirements-dask.lock", "requirements-dev.lock"),
        ],
        DIRECT + KAFKA + OTEL + DASK + DEV,
    ),
}
PLATFORMS = {
    "linux-x86_64": ("linux", "Linux", "x86_64"),
    "linux-aarch64": ("linux", "Linux", "aarch64"),
    "macos-arm64": ("darwin", "Darwin", "arm64"),
    "macos-x86_64": ("darwin", "Darwin", "x86_64"),
}
PYTHONS = ("3.11", "3.12", "3.13")

Environment = Mapping[str, str]
Lock = Mapping[str, Version]

HERE: Environment = {name: str(value) for name, value in default_environment().items()}


def environment(platform: str, python: str) -> Environment:
    """Every environment marker variable for CPython on this platform."""
    sys_platform, system, machine = PLATFORMS[platform]
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": system,
        "platform_version": "",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": sys_platform,
    }


def applies(marker: Marker | None, where: Environment, extra: str = "") -> bool:
    return marker is None or marker.evaluate({**where, "extra": extra})


def locked(files: Iterable[str], where: Environment) -> dict[str, Version]:
    """The packages that pip installs on this platform, by canonical name."""
    found: dict[str, Version] = {}
    for file in files:
        for line in re.findall(r"^([a-z0-9].*?) \\$", (ROOT / file).read_text(), re.MULTILINE):
            entry = Requirement(line)
            if applies(entry.marker, where):
                name, (exact,) = canonicalize_name(entry.name), entry.specifier
                assert found.setdefault(name, Version(exact.version)) == Version(exact.version)
    return found


@cache
def declared(name: str) -> list[Requirement]:
    return [Requirement(line) for line in distribution(name).requires or ()]


def requirements_of(need: Requirement, where: Environment) -> list[Requirement]:
    """The requirements of a package with these extras on this platform, from its metadata."""
    extras = ("", *need.extras)
    return [
        one
        for one in declared(need.name)
        if any(applies(one.marker, where, extra) for extra in extras)
    ]


def faults(lock: Lock, needs: Iterable[str], where: Environment) -> set[str]:
    """Each direct or transitive requirement that the lock does not satisfy."""
    waiting = [one for one in map(Requirement, needs) if applies(one.marker, where)]
    seen: set[tuple[str, frozenset[str]]] = set()
    found: set[str] = set()
    while waiting:
        need = waiting.pop()
        name = canonicalize_name(need.name)
        if name not in lock or not need.specifier.contains(lock[name], prereleases=True):
            found.add(f"{name}{need.specifier}")
            continue
        if (name, frozenset(need.extras)) not in seen:
            seen.add((name, frozenset(need.extras)))
            waiting += requirements_of(need, where)
    return found


every_environment = pytest.mark.parametrize(
    "where",
    [environment(*place) for place in product(PLATFORMS, PYTHONS)],
    ids=["-".join(place) for place in product(PLATFORMS, PYTHONS)],
)
every_lock = pytest.mark.parametrize(("files", "needs"), LOCKS.values(), ids=LOCKS)


@every_lock
@every_environment
def test_lock_satisfies_every_requirement(files: list[str], needs: list[str], where: Environment):
    assert faults(locked(files, where), needs, where) == set()


@every_lock
def test_lock_without_one_of_its_packages_is_incomplete(files: list[str], needs: list[str]):
    where = environment("linux-x86_64", "3.11")
    lock = locked(files, where)
    for name in lock:
        rest = {other: version for other, version in lock.items() if other != name}
        missed = faults(rest, needs, where)
        assert any(re.match(rf"{name}(\W|$)", fault) for fault in missed), name


def test_lock_includes_requirements_of_extras():
    where = environment("linux-aarch64", "3.12")
    lock = locked(["requirements.lock"], where)
    del lock["email-validator"]  # of pydantic[email], which apiflask needs
    assert [fault.partition(">")[0] for fault in faults(lock, DIRECT, where)] == ["email-validator"]


def test_lock_with_a_version_that_is_too_old_is_found_incomplete():
    where = environment("macos-arm64", "3.13")
    lock = locked(["requirements.lock"], where) | {"markupsafe": Version("0.1")}
    assert {fault.partition(">")[0] for fault in faults(lock, DIRECT, where)} == {"markupsafe"}


def test_installed_packages_are_those_of_the_locks():
    here = {name: Version(version(name)) for name in locked(LOCKS["dev"][0], HERE)}
    assert here == locked(LOCKS["dev"][0], HERE)


def test_build_requirement_is_pinned_and_tested():
    assert PROJECT["build-system"]["requires"] == [
        need for need in DEV if need.startswith("hatchling==")
    ]
