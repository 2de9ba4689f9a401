"""run.sh, run as a user runs it, in a small project whose locks install in a second."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from etl.cli.main import commands

ROOT = Path(__file__).parents[2]

SHOW_CALL = """
import json, os, sys
import parcel
process = {"cwd": os.getcwd(), "pid": os.getpid(), "parcel": parcel.VERSION}
process |= {name: os.environ.get("BUCKETLINE_" + name) for name in ("PROGRAM", "CALLERS_FOLDER")}
print(json.dumps({"arguments": sys.argv[1:]} | process), flush=True)
if "wait" in sys.argv:
    sys.stdin.read()
sys.exit(7 if "fail" in sys.argv else 0)
"""
SHOW_IMPORT_LINTER = """\
import os, sys
def lint_imports_command():
    print("import-linter")
    sys.exit(int(os.environ.get("TOOL_RESULT", 0)))
"""
SHOW_TOOL = """
import os, sys
print(__spec__.name.removesuffix(".__main__"), *sys.argv[1:], flush=True)
sys.exit(int(os.environ.get("TOOL_RESULT", "0")))
"""


def make_wheel(
    folder: Path, name: str, version: str, files: dict[str, str], *, needs: str = ""
) -> str:
    """Write a wheel and return its line for a lock, with URL and hash."""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/METADATA", metadata + f"Requires-Dist: {needs}\n" * bool(needs))
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in files))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name} @ {wheel.as_uri()} --hash=sha256:{digest}\n"


def lock_parcel(project: Path, version: str, *, needs: str = "") -> None:
    """Write a runtime lock with this version of the only package."""
    code = {"parcel.py": f"VERSION = {version!r}\n"}
    line = make_wheel(project, "parcel", version, code, needs=needs)
    (project / "requirements.lock").write_text(line)


def lock_brokers(project: Path) -> None:
    """Write a Kafka lock with a stand-in for the client."""
    brokers = make_wheel(project, "brokers", "1.0", {"brokers.py": ""})
    (project / "requirements-kafka.lock").write_text(brokers)


def make_project(folder: Path) -> Path:
    """Create a project with run.sh, a program that prints its arguments, and nothing installed."""
    (folder / "etl").mkdir(parents=True)
    shutil.copy(ROOT / "run.sh", folder)
    (folder / "etl/__main__.py").write_text(SHOW_CALL)
    lock_parcel(folder, "1.0")
    tools = {f"{tool}/__main__.py": SHOW_TOOL for tool in ("pytest", "ruff", "mypy")}
    tools["importlinter/cli.py"] = SHOW_IMPORT_LINTER
    lock_brokers(folder)
    spans = make_wheel(folder, "spans", "1.0", {"spans.py": ""})
    (folder / "requirements-otel.lock").write_text(spans)
    dask = make_wheel(folder, "workers", "1.0", {"workers.py": ""})
    (folder / "requirements-dask.lock").write_text(dask)
    (folder / "requirements-dev.lock").write_text(make_wheel(folder, "tools", "1.0", tools))
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project without installed packages."""
    return make_project(tmp_path / "a project")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with installed packages, for tests that do not change it."""
    folder = make_project(tmp_path_factory.mktemp("installed") / "a project")
    first = call(folder / "run.sh", "status")
    assert first.returncode == 0, first.stderr
    return folder


@pytest.fixture
def own_installed(installed: Path, tmp_path: Path) -> Path:
    """A copy of that project, for tests that change it."""
    return shutil.copytree(installed, tmp_path / "a copy", symlinks=True)


@pytest.fixture(scope="module")
def with_tools(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with installed test tools, for tests that do not change it."""
    folder = shutil.copytree(
        installed, tmp_path_factory.mktemp("tools") / "a project", symlinks=True
    )
    first = call(folder / "run.sh", "test")
    assert first.returncode == 0, first.stderr
    return folder


def environment(**changes: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if "BUCKETLINE_" not in name}
    return inherited | {"PIP_NO_INDEX": "1", "PIP_NO_CACHE_DIR": "1"} | changes


def start(
    script: Path, *arguments: str, cwd: Path | None = None, **env: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [script, *arguments],
        cwd=cwd or script.parent,
        env=environment(**env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def call(
    script: Path, *arguments: str, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    process = start(script, *arguments, cwd=cwd, **env)
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def stand_in(path: Path, when: str, then: str) -> Path:
    """Create a Python that runs `then` if its arguments match, and otherwise the real one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'#!/bin/sh\ncase "$*" in {when}) {then} ;; esac\nexec "{real_python()}" "$@"\n'
    )
    path.chmod(0o755)
    return path


def real_python() -> str:
    """Find the Python that run.sh uses by default."""
    return os.environ.get("PYTHON") or shutil.which("python3") or sys.executable


def test_first_use_installs_the_locked_packages_and_reports_it(project: Path):
    first = call(project / "run.sh", "status")
    assert first.returncode == 0, first.stderr
    assert "Installing Bucketline into .venv" in first.stderr
    assert '"parcel": "1.0"' in first.stdout


def test_later_starts_install_nothing_and_need_no_python(installed: Path):
    later = call(installed / "run.sh", "status", PYTHON="/nonexistent/python3")
    assert later.returncode == 0
    assert later.stderr == ""


def has_kafka_client(project: Path) -> bool:
    """Whether the stand-in for the client can be imported."""
    python = project / ".venv/bin/python"
    return subprocess.run([python, "-c", "import brokers"], check=False).returncode == 0


def test_the_kafka_client_is_installed_where_it_is_used(own_installed: Path):
    assert not has_kafka_client(own_installed)
    assert call(own_installed / "run.sh", "events", "kafka").returncode == 0
    assert has_kafka_client(own_installed)


@pytest.mark.parametrize("is_in_file", [False, pytest.param(True, marks=pytest.mark.long)])
def test_opentelemetry_is_installed_when_traces_have_a_destination(
    own_installed: Path, *, is_in_file: bool
):
    setting = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    if is_in_file:
        (own_installed / ".env").write_text("".join(f"{k}={v}\n" for k, v in setting.items()))
    done = call(own_installed / "run.sh", "status", **({} if is_in_file else setting))
    assert done.returncode == 0, done.stderr
    assert list(own_installed.glob(".venv/lib/python*/site-packages/spans.py"))


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        (("run", "--dask=local"), {}),
        pytest.param(("run", "--dask", "local"), {}, marks=pytest.mark.long),
        pytest.param(
            ("schedule",), {"DASK_SCHEDULER": "tcp://10.0.0.1:8786"}, marks=pytest.mark.long
        ),
    ],
)
def test_dask_is_installed_where_it_is_used(
    own_installed: Path, words: tuple[str, ...], setting: dict[str, str]
):
    assert call(own_installed / "run.sh", "run").returncode == 0
    assert not list(own_installed.glob(".venv/lib/python*/site-packages/workers.py"))
    done = call(own_installed / "run.sh", *words, **setting)
    assert done.returncode == 0, done.stderr
    assert list(own_installed.glob(".venv/lib/python*/site-packages/workers.py"))


def test_kafka_client_is_installed_when_brokers_are_set(own_installed: Path):
    (own_installed / ".env").write_text("KAFKA_BOOTSTRAP_SERVERS=broker:9092\n")
    assert call(own_installed / "run.sh", "schedule").returncode == 0
    assert has_kafka_client(own_installed)


def test_a_changed_lock_is_installed_at_the_next_start(own_installed: Path):
    lock_parcel(own_installed, "2.0")
    assert '"parcel": "2.0"' in call(own_installed / "run.sh", "status").stdout


def test_package_that_a_lock_no_longer_names_is_removed(own_installed: Path):
    call(own_installed / "run.sh", "events", "kafka")
    assert has_kafka_client(own_installed)
    lock_parcel(own_installed, "2.0")
    assert '"parcel": "2.0"' in call(own_installed / "run.sh", "status").stdout
    assert not has_kafka_client(own_installed)


def test_further_lock_is_added_to_the_installed_ones(own_installed: Path):
    (own_installed / ".venv/lib/kept").touch()
    call(own_installed / "run.sh", "events", "kafka")
    assert has_kafka_client(own_installed)
    assert (own_installed / ".venv/lib/kept").exists()


def old_pip(project: Path, *, has_ensurepip: bool) -> str:
    """A Python whose pip does not support --python, like that of Ubuntu 22.04."""
    missing = "" if has_ensurepip else "|'-c import ensurepip'"
    when = f"*'import pip, sys'*|*'-m pip --python'*{missing}"
    return str(stand_in(project / "bin/python3", when, "echo no such option >&2; exit 2"))


@pytest.mark.parametrize("kind", ["own", "borrowed"])
def test_old_pip_installs_the_lock_and_its_changes(project: Path, kind: str):
    python = old_pip(project, has_ensurepip=kind == "own")
    first = call(project / "run.sh", "status", PYTHON=python)
    assert '"parcel": "1.0"' in first.stdout, first.stderr
    assert (project / ".venv/bin/pip").exists() == (kind == "own")
    lock_parcel(project, "2.0")
    again = call(project / "run.sh", "status", PYTHON=python)
    assert '"parcel": "2.0"' in again.stdout, again.stderr


@pytest.mark.parametrize(
    "kind", ["option", pytest.param("own", marks=pytest.mark.long), "borrowed"]
)
def test_lock_that_lacks_a_requirement_is_refused(project: Path, kind: str):
    python = "" if kind == "option" else old_pip(project, has_ensurepip=kind == "own")
    lock_parcel(project, "1.0", needs="string>=3")
    result = call(project / "run.sh", "status", PYTHON=python)
    assert result.returncode == 1
    assert "parcel 1.0 requires string, which is not installed" in result.stderr
    assert "do not fit together" in result.stderr
    lock_parcel(project, "1.0")
    assert '"parcel": "1.0"' in call(project / "run.sh", "status").stdout


def test_package_outside_the_environment_does_not_count(project: Path, tmp_path: Path):
    """A borrowed pip does not treat the packages next to it as installed."""
    outside = tmp_path / "outside"
    subprocess.run([real_python(), "-m", "venv", outside], check=True)
    line = (project / "requirements.lock").read_text()
    (project / "wheel.txt").write_text(line)
    pip = [outside / "bin/python", "-m", "pip", "--no-cache-dir", "install", "--no-index"]
    subprocess.run([*pip, "-r", project / "wheel.txt"], check=True, capture_output=True)
    python = old_pip(project, has_ensurepip=False)
    Path(python).write_text(
        Path(python).read_text().replace(real_python(), f"{outside}/bin/python")
    )
    result = call(project / "run.sh", "status", PYTHON=python)
    assert '"parcel": "1.0"' in result.stdout, result.stderr


def test_a_package_that_does_not_match_its_hash_is_not_installed(project: Path):
    lock = project / "requirements.lock"
    lock.write_text(re.sub(r"sha256:\w+", f"sha256:{'0' * 64}", lock.read_text()))
    result = call(project / "run.sh", "status")
    assert result.returncode == 1
    assert "Installing Bucketline" in result.stderr.splitlines()[-1]
    assert "failed" in result.stderr


def test_killed_installation_is_started_again(project: Path, tmp_path: Path):
    killing = stand_in(tmp_path / "bin/python3", "*' install '*", "kill -9 $PPID; exit 1")
    killed = call(project / "run.sh", "status", PYTHON=str(killing))
    assert killed.returncode == -signal.SIGKILL
    (project / ".venv/lib/left-over").touch()
    again = call(project / "run.sh", "status")
    assert '"parcel": "1.0"' in again.stdout
    assert not (project / ".venv/lib/left-over").exists()


def test_venv_with_a_missing_python_is_recreated(own_installed: Path):
    python = own_installed / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nonexistent/python3")
    again = call(own_installed / "run.sh", "status")
    assert '"parcel": "1.0"' in again.stdout, again.stderr
    assert "its Python is gone" in again.stderr


def test_two_first_starts_at_once_install_once(project: Path):
    both = [start(project / "run.sh", "status") for _ in range(2)]
    answers = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert sum("Installing" in err for _, err in answers) == 1
    assert all('"parcel": "1.0"' in out for out, _ in answers)


def test_arguments_are_passed_unchanged(installed: Path):
    given = ["seed", "--name", "two words", "", "*", "a'b\"c$d", "-x", "--json"]
    assert f'"arguments": {json_text(given)}' in call(installed / "run.sh", *given).stdout


def json_text(words: list[str]) -> str:
    return "[" + ", ".join('"' + word.replace('"', '\\"') + '"' for word in words) + "]"


def test_the_exit_code_is_that_of_the_command(installed: Path):
    assert call(installed / "run.sh", "fail").returncode == 7


def test_command_replaces_the_shell_and_receives_signals(installed: Path):
    with start(installed / "run.sh", "wait") as process:
        assert process.stdout is not None
        assert f'"pid": {process.pid}' in process.stdout.readline()
        process.terminate()
    assert process.returncode == -signal.SIGTERM


def test_it_works_through_a_symlink_from_any_folder(installed: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "first").symlink_to(os.path.relpath(installed / "run.sh", elsewhere))
    (elsewhere / "second").symlink_to(elsewhere / "first")
    result = call(elsewhere / "second", "status", cwd=elsewhere)
    assert f'"cwd": "{installed}"' in result.stdout, result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["seed", "my data", "missing"],
        ["problems", "--key", "1000.csv", "--code", "empty-file"],
        ["keys", "new", "my data", "--role", "reader"],
        ["keys", "revoke", "1000.csv"],
        ["events", "subscribe", "--prefix", "my data", "--suffix", "1000.csv", "--arn", "seed"],
        ["events", "listen", "--prefix", "my data"],
        ["serve", "--url-file", "1000.csv"],
        ["run", "--wait", "1"],
    ],
    ids=" ".join,
)
def test_arguments_that_are_also_caller_files_stay_unchanged(
    installed: Path, tmp_path: Path, words: list[str]
):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "my data").mkdir(parents=True)
    for name in ("seed", "1000.csv", "empty-file", "reader", "1"):
        (elsewhere / name).touch()
    result = call(installed / "run.sh", *words, cwd=elsewhere)
    assert f'"arguments": {json_text(words)}' in result.stdout, result.stderr
    assert f'"CALLERS_FOLDER": "{elsewhere}"' in result.stdout


def test_program_gets_its_name_and_a_folder_only_if_different(installed: Path):
    result = call(installed / "run.sh", "status", BUCKETLINE_CALLERS_FOLDER="/nowhere")
    assert '"PROGRAM": "./run.sh", "CALLERS_FOLDER": null' in result.stdout
    wrapped = call(installed / "run.sh", "status", BUCKETLINE_PROGRAM="bl")
    assert '"PROGRAM": "bl"' in wrapped.stdout


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["help"],
        ["-h"],
        ["--help"],
        ["test", "--help"],
        ["lint", "-h"],
        ["secrets", "--help"],
    ],
    ids=" ".join,
)
def test_help_is_shown_without_installing_or_writing(project: Path, words: list[str]):
    before = set(project.rglob("*"))
    result = call(project / "run.sh", *words, PYTHON="/nonexistent/python3")
    assert result.returncode == 0, result.stderr
    assert {"up", "problems", "test", "lint", "secrets"} <= set(result.stdout.split())
    assert set(project.rglob("*")) == before


@pytest.mark.parametrize("command", ["help", "lint", "secrets"])
def test_arguments_that_a_command_has_no_use_for_are_refused(project: Path, command: str):
    before = set(project.rglob("*"))
    result = call(project / "run.sh", command, "surplus")
    assert result.returncode == 2
    assert "surplus" in result.stderr
    assert set(project.rglob("*")) == before


def test_launcher_help_lists_every_command():
    launcher = call(ROOT / "run.sh").stdout
    program = CliRunner().invoke(commands, ["--help"]).stdout
    listed = program.partition("Commands:\n")[2]
    assert listed
    assert listed in launcher
    assert "..." not in listed


def test_an_old_python_is_refused_by_name_and_version(project: Path, tmp_path: Path):
    old = stand_in(tmp_path / "bin/python3", "*version_info*", "echo 3.9.2; exit 1")
    result = call(project / "run.sh", "status", PYTHON=str(old))
    assert result.returncode == 1
    assert "needs Python 3.11 or newer" in result.stderr
    assert str(old) in result.stderr
    assert not (project / ".venv").exists()


def test_newer_python_is_found_next_to_an_old_one(project: Path, tmp_path: Path):
    stand_in(tmp_path / "bin/python3", "*version_info*", "exit 1")
    (tmp_path / "bin/python3.13").symlink_to(real_python())
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    result = call(project / "run.sh", "status", PATH=path, PYTHON="")
    assert result.returncode == 0, result.stderr


def test_a_python_that_is_not_there_is_named(project: Path):
    result = call(project / "run.sh", "status", PYTHON="/nonexistent/python3")
    assert result.returncode == 1
    assert "/nonexistent/python3 is not to be found" in result.stderr


def test_a_python_without_pip_is_refused_with_the_remedy(project: Path, tmp_path: Path):
    bare = stand_in(tmp_path / "bin/python3", "*'import pip'*|'-c import ensurepip'", "exit 1")
    result = call(project / "run.sh", "status", PYTHON=str(bare))
    assert result.returncode == 1
    assert "has no pip" in result.stderr
    assert "apt install python3-pip" in result.stderr


def test_command_test_passes_its_arguments_to_pytest(with_tools: Path):
    result = call(with_tools / "run.sh", "test", "-k", "some name")
    assert result.stdout.startswith("pytest ")
    assert result.stdout.endswith("-k some name\n")


def test_the_help_of_test_is_that_of_pytest_once_it_is_installed(project: Path, with_tools: Path):
    assert "pytest's" in call(project / "run.sh", "test", "--help").stdout
    result = call(with_tools / "run.sh", "test", "--help")
    assert result.stdout.startswith("pytest ")
    assert result.stdout.endswith("--help\n")


@pytest.fixture
def debian(with_tools: Path, tmp_path: Path) -> Path:
    """An installed project with browser tests, next to a `bin` with all of its PATH.

    There the user is root, and apt-get writes its arguments to `asked`. There is no Chromium.
    """
    folder = shutil.copytree(with_tools, tmp_path / "a project", symlinks=True)
    (folder / "tests/browser").mkdir(parents=True)
    programs = {"id": "echo 0", "apt-get": f'echo "$@" >>"{tmp_path / "asked"}"'}
    (tmp_path / "bin").mkdir()
    for name, script in programs.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    for name in ("cat", "cmp", "readlink"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    return folder


def test_chromium_is_installed_for_the_browser_tests(debian: Path, tmp_path: Path):
    result = call(debian / "run.sh", "test", PATH=str(tmp_path / "bin"))
    assert result.stdout.startswith("pytest ")
    assert (tmp_path / "asked").read_text().splitlines() == [
        "update -qq",
        "install -y -qq --no-install-recommends chromium fonts-dejavu-core",
    ]


@pytest.mark.parametrize("reason", ["it is there", "not root", "help", "no browser tests"])
def test_chromium_is_not_installed_without_need_or_right(reason: str, debian: Path, tmp_path: Path):
    arguments = ["test"]
    match reason:
        case "it is there":
            (tmp_path / "bin/chromium").symlink_to(real_python())
        case "not root":
            (tmp_path / "bin/id").write_text("#!/bin/sh\necho 1000\n")
        case "help":
            arguments.append("--help")
        case _:
            (debian / "tests/browser").rmdir()
    result = call(debian / "run.sh", *arguments, PATH=str(tmp_path / "bin"))
    assert result.stdout.startswith("pytest ")
    assert not (tmp_path / "asked").exists()


def test_tests_run_although_chromium_could_not_be_installed(debian: Path, tmp_path: Path):
    (tmp_path / "bin/apt-get").write_text("#!/bin/sh\nexit 100\n")
    result = call(debian / "run.sh", "test", PATH=str(tmp_path / "bin"))
    assert result.stdout.startswith("pytest ")
    assert "Not installed" in result.stderr


def test_lint_runs_every_linter_and_fails_if_one_fails(with_tools: Path):
    good = call(with_tools / "run.sh", "lint")
    assert good.returncode == 0, good.stderr
    assert good.stdout.splitlines() == [
        *("ruff check", "ruff format --check", "mypy", "import-linter"),
    ]
    bad = call(with_tools / "run.sh", "lint", TOOL_RESULT="1")
    assert bad.returncode == 1
    assert bad.stdout == good.stdout


@pytest.fixture
def benchmark(own_installed: Path) -> Path:
    """Add a benchmark that prints its arguments, and one baseline tool."""
    (own_installed / "bench").mkdir()
    (own_installed / "bench/__init__.py").touch()
    (own_installed / "bench/__main__.py").write_text(SHOW_CALL)
    line = make_wheel(own_installed, "baseline", "1.0", {"baseline.py": ""})
    (own_installed / "bench/requirements.txt").write_text(line.partition(" --hash")[0] + "\n")
    return own_installed


def has_baseline_tool(project: Path) -> bool:
    return bool(list((project / "bench").glob(".venv/lib/*/site-packages/baseline.py")))


def test_bench_installs_baseline_tools_once_and_separately(benchmark: Path):
    first = call(benchmark / "run.sh", "bench", "--quick")
    assert "Installing the baseline tools of the benchmark into bench/.venv" in first.stderr
    assert '"arguments": ["--quick"]' in first.stdout
    assert has_baseline_tool(benchmark)
    assert not list(benchmark.glob(".venv/lib/*/site-packages/baseline.py"))
    later = call(benchmark / "run.sh", "bench", PYTHON="/nonexistent/python3")
    assert later.returncode == 0
    assert later.stderr == ""


def test_bench_continues_without_unavailable_baseline_tools(benchmark: Path):
    (benchmark / "bench/requirements.txt").write_text("no-such-tool==1.0\n")
    result = call(benchmark / "run.sh", "bench")
    assert result.returncode == 0, result.stderr
    assert '"arguments": []' in result.stdout
    assert "Their rows will be empty" in result.stderr
    assert not (benchmark / "bench/.venv").exists()


def test_benchmark_report_needs_no_baseline_tool(benchmark: Path):
    result = call(benchmark / "run.sh", "bench", "--report", "results.json")
    assert '"arguments": ["--report", "results.json"]' in result.stdout
    assert not has_baseline_tool(benchmark)


def test_servers_of_the_tests_are_installed_once_and_separately(own_installed: Path):
    servers = own_installed / "tests/servers"
    servers.mkdir(parents=True)
    line = make_wheel(own_installed, "emulator", "1.0", {"emulator.py": ""})
    (servers / "requirements.txt").write_text(line.partition(" --hash")[0] + "\n")
    first = call(own_installed / "run.sh", "test")
    assert "Installing the servers of the tests into tests/servers/.venv" in first.stderr
    assert list(servers.glob(".venv/lib/*/site-packages/emulator.py"))
    assert not list(own_installed.glob(".venv/lib/*/site-packages/emulator.py"))
    assert call(own_installed / "run.sh", "test", PYTHON="/nonexistent/python3").stderr == ""
    (servers / "requirements.txt").write_text("no-such-server==1.0\n")
    without = call(own_installed / "run.sh", "test")
    assert without.returncode == 0
    assert "Their tests will be skipped" in without.stderr


def test_ci_runs_every_step_and_fails_if_one_fails(project: Path):
    (project / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", project / ".ci")
    for name in ("install", "wheel", "containers"):
        stub = project / ".ci" / name
        stub.write_text('#!/bin/sh\necho "${0##*/} $*"\nexit "${STEP_RESULT:-0}"\n')
        stub.chmod(0o755)
    good = call(project / ".ci/run", cwd=project.parent)
    assert good.returncode == 0, good.stderr
    called = [line.split()[:2] for line in good.stdout.splitlines() if not line.startswith("==")]
    assert [" ".join(words).removesuffix(" -p") for words in called] == [
        *("pytest", "pytest", "ruff check", "ruff format", "mypy", "import-linter"),
        *("install pip==22.0.2", "install pip==23.0.1", "install pip", "wheel", "containers"),
    ]
    for failing in ({"TOOL_RESULT": "1"}, {"STEP_RESULT": "1"}):
        bad = call(project / ".ci/run", **failing)
        assert bad.returncode == 1
        assert bad.stdout == good.stdout
        assert " failed" in bad.stderr


def test_secrets_are_random_private_and_not_replaced(project: Path):
    dotenv = project / ".env"
    dotenv.write_text("ETL_INTERVAL=5m")
    call(project / "run.sh", "secrets")
    first = dotenv.read_text()
    assert re.fullmatch(
        r"ETL_INTERVAL=5m\nPOSTGRES_PASSWORD=[0-9a-f]{48}\nMINIO_ROOT_PASSWORD=[0-9a-f]{48}\n"
        r"WEBHOOK_TOKEN=[0-9a-f]{48}\n",
        first,
    )
    assert stat.S_IMODE(dotenv.stat().st_mode) == 0o600
    call(project / "run.sh", "secrets")
    assert dotenv.read_text() == first
    assert not (project / ".venv").exists()


def locked_names(lock: Path) -> set[str]:
    """The packages that a lock names."""
    return set(re.findall(r"^([a-z0-9._-]+)==", lock.read_text(), flags=re.MULTILINE))


def declared_names(requirements: list[str]) -> set[str]:
    """The packages that requirements in pyproject.toml name."""
    return {re.split(r"[<>=!~;\[ ]", text)[0].lower() for text in requirements}


def test_locks_cover_dependencies_and_runtime_has_no_test_tools():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = locked_names(ROOT / "requirements.lock")
    tools = locked_names(ROOT / "requirements-dev.lock")
    extras = declared["project"]["optional-dependencies"]
    assert declared_names(extras["kafka"]) == locked_names(ROOT / "requirements-kafka.lock")
    assert declared_names(extras["dask"]) <= locked_names(ROOT / "requirements-dask.lock")
    assert declared_names(extras["otel"]) <= locked_names(ROOT / "requirements-otel.lock")
    assert declared_names(declared["project"]["dependencies"]) <= runtime
    assert declared_names(declared["dependency-groups"]["dev"]) <= tools
    assert not {"pytest", "hypothesis", "ruff", "mypy"} & runtime


def test_the_locks_name_no_registry_and_every_package_by_hash():
    for lock in ROOT.glob("requirements*.lock"):
        text = lock.read_text()
        assert "://" not in text
        assert len(re.findall(r"^[a-z0-9].*==[^\n]*\\\n    --hash=", text, re.MULTILINE)) == len(
            re.findall(r"^[a-z0-9]", text, re.MULTILINE)
        )
