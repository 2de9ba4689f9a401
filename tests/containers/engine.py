"""A Docker engine of the tests' own: its programs, its namespaces and its end.

The programs are Debian packages that are unpacked and not installed. The engine runs in network,
mount and process namespaces of its own, so that its ports are free, its mounts are seen by no one
else, and the end of one process ends all of its containers.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self, TypeVar

import pytest

from tests.conftest import wait_until

Answer = TypeVar("Answer")

PACKAGES = ("docker.io", "docker-cli", "docker-compose", "docker-buildx", "containerd", "tini")
TOOLS = ("apt-get", "dpkg", "mmdebstrap", "slirp4netns", "iptables", "ip", "nsenter", "unshare")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITE = "trixie"  # bookworm has no Compose 2
NAMESERVER = "10.0.2.3"  # of slirp4netns
CLONE_NEWNET = 0x40000000
CGROUPS = Path("/sys/fs/cgroup")

# The first process of the namespaces. A shell, because it also reaps orphans. A power cut kills
# everything except this process, so also the process that it waits for.
INIT = """
ip link set lo up
mount --bind "$0" /etc/resolv.conf
while :; do sleep infinity & wait 2>/dev/null; done
"""
# The networks of killed containers are kept by mounts, and would answer for their addresses.
UNMOUNT = """
while read -r _ path _; do
    case $path in "$0"/*) printf '%s\\n' "$path" ;; esac
done </proc/mounts | sort -r | xargs -r umount --lazy
"""


def obstacles() -> list[str]:
    """What this machine lacks to run the engine; empty if nothing."""
    found = [] if os.geteuid() == 0 else ["the user is not root"]
    found += [f"{tool} is not installed" for tool in TOOLS if not shutil.which(tool)]
    found += [f"{path} is missing" for path in (KEYRING, Path("/dev/net/tun")) if not path.exists()]
    return found


def require_engine() -> None:
    """Skip the test if the engine cannot run here, or fail it in continuous integration."""
    missing = obstacles()
    if "PYTEST_XDIST_WORKER" in os.environ:
        missing.append("the tests share one engine: pass -n 0")
    if not missing:
        return
    reason = f"containers cannot run here: {'; '.join(missing)}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def run(*command: str | Path, **options: object) -> str:
    """Run a program and return its output; a failure shows all of it."""
    done = subprocess.run(  # type: ignore[call-overload]
        list(map(str, command)),
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        **options,
    )
    shown = " ".join(map(str, command))
    assert done.returncode == 0, f"{shown}\n{done.stdout[-4000:]}{done.stderr[-8000:]}"
    return str(done.stdout)


class Debian:
    """The packages of another release of Debian, from the mirror that this machine uses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mirror = _mirror()
        lists, archives = folder / "lists", folder / "cache" / "archives"
        for made in (lists, archives):
            (made / "partial").mkdir(parents=True, exist_ok=True)
        self.sources = folder / "sources.list"
        self.sources.write_text(f"deb [signed-by={KEYRING}] {self.mirror} {SUITE} main\n")
        given = {
            "Dir::Etc::sourcelist": self.sources,
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": lists,
            "Dir::Cache": folder / "cache",
            "APT::Sandbox::User": "root",
        }
        self._options = [
            word for name, value in given.items() for word in ("-o", f"{name}={value}")
        ]

    def unpack(self, target: Path) -> None:
        """Unpack the engine's packages into a folder.

        runc is that of this machine's release, because a newer one may not know its cgroups.
        """
        self._get("update")
        self._get("download", *PACKAGES)
        run("apt-get", "-qq", "download", "runc", cwd=self.folder)
        for package in self.folder.glob("*.deb"):
            run("dpkg", "-x", package, target)

    def _get(self, *words: str) -> None:
        run("apt-get", "-qq", *self._options, *words, cwd=self.folder)


def _mirror() -> str:
    """The URL from which apt gets this machine's Debian packages."""
    fields = "$(ORIGIN) $(REPO_URI)"
    lines = run("apt-get", "indextargets", "--format", fields, "Created-By: Packages").splitlines()
    found = [
        uri for origin, _, uri in (line.partition(" ") for line in lines) if origin == "Debian"
    ]
    assert found, "apt-get update has not been run"
    return found[0]


class Engine:
    """dockerd in namespaces that outlast it.

    `run` runs docker. `inside` calls a function in a thread that is in the engine's network.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self._closing = ExitStack()
        self._parent = f"/bucketline-tests-{os.getpid()}"
        plugins = folder / "client" / "cli-plugins"
        plugins.mkdir(parents=True, exist_ok=True)
        for plugin in (programs / "usr/libexec/docker/cli-plugins").iterdir():
            (plugins / plugin.name).unlink(missing_ok=True)
            (plugins / plugin.name).symlink_to(plugin)
        paths = (programs / "usr/sbin", programs / "usr/bin", os.environ["PATH"])
        self.environment = {
            **os.environ,
            "PATH": os.pathsep.join(map(str, paths)),
            "DOCKER_HOST": f"unix://{folder}/docker.sock",
            "DOCKER_CONFIG": str(folder / "client"),
        }

    def __enter__(self) -> Self:
        """Make the namespaces and start dockerd in them."""
        with ExitStack() as undone:
            undone.callback(self._remove_cgroups)
            self.init = undone.enter_context(self._namespaces())
            undone.enter_context(self._network())
            thread = ThreadPoolExecutor(1, initializer=_enter_network, initargs=(self.init,))
            self._thread = undone.enter_context(thread)
            undone.callback(self.stop)
            self.start()
            self._closing = undone.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop dockerd and end the namespaces, with every process in them."""
        self._closing.close()

    def start(self) -> None:
        """Start dockerd and wait until it answers. Containers that restart are started again."""
        self._run = Path(tempfile.mkdtemp(dir=self.folder, prefix="run-"))  # as /run after a boot
        log = (self.folder / "dockerd.log").open("a")
        files = os.sysconf("SC_OPEN_MAX")  # root may lack the right to raise it
        self._daemon = subprocess.Popen(
            [
                *("nsenter", f"--target={self.init}", "--net", "--mount", "--pid", "dockerd"),
                *("--host", self.environment["DOCKER_HOST"]),
                *("--data-root", self.folder / "data", "--exec-root", self._run),
                *("--pidfile", self._run / "docker.pid"),
                *("--cgroup-parent", self._parent),
                *("--default-ulimit", f"nofile={files}:{files}"),
            ],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        wait_until(self._answers, seconds=60, pause=0.2)

    def stop(self) -> None:
        """Stop dockerd as a service manager does. It stops its containers first."""
        if self._daemon.poll() is None:
            self.kill(int((self._run / "docker.pid").read_text()), signal.SIGTERM)
            self._daemon.wait(120)

    def cut_power(self) -> None:
        """Kill dockerd and every process of its containers at once."""
        self.kill(-1, signal.SIGKILL)
        self._daemon.wait(120)
        self._enter(UNMOUNT, self.folder)

    def kill(self, process: int, how: signal.Signals) -> None:
        """Send a signal to a process by its number inside, or with -1 to all but the first."""
        self._enter(f"kill -{how.value} -- {process}")

    def run(self, *words: str | Path, **options: object) -> str:
        """Run docker and return its output."""
        return run("docker", *words, env=self.environment, **options)

    def inside(self, function: Callable[..., Answer], *arguments: object) -> Answer:
        """Call the function in the thread that is in the engine's network."""
        return self._thread.submit(function, *arguments).result()

    def _enter(self, script: str, *arguments: Path) -> None:
        """Run a script as a process inside."""
        inside = ("nsenter", f"--target={self.init}", "--mount", "--pid")
        run(*inside, "bash", "-c", script, *arguments)

    def _answers(self) -> bool:
        assert self._daemon.poll() is None, (self.folder / "dockerd.log").read_text()[-4000:]
        command = ("docker", "info")
        asked = subprocess.run(command, env=self.environment, capture_output=True, check=False)
        return asked.returncode == 0

    @contextmanager
    def _namespaces(self) -> Iterator[int]:
        """The number of the first process in new namespaces, which end with it."""
        resolver = self.folder / "resolv.conf"
        resolver.write_text(f"nameserver {NAMESERVER}\n")
        holder = subprocess.Popen(
            [
                *("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc"),
                *("--kill-child", "--propagation=private", "bash", "-c", INIT, resolver),
            ],
            stdin=subprocess.DEVNULL,
        )
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
        try:
            wait_until(lambda: children.read_text().strip())
            first = children.read_text().strip()
            yield int(first)
        finally:
            holder.kill()
            holder.wait()
        wait_until(lambda: not Path(f"/proc/{first}").exists())

    @contextmanager
    def _network(self) -> Iterator[None]:
        """A way out of the network namespace, without a bridge on this machine."""
        ready, write = os.pipe()
        log = (self.folder / "network.log").open("w")
        slirp = subprocess.Popen(
            [
                *("slirp4netns", "--configure", "--mtu=1400", "--disable-host-loopback"),
                *(f"--ready-fd={write}", str(self.init), "tap0"),
            ],
            pass_fds=(write,),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        os.close(write)
        log.close()
        try:
            with os.fdopen(ready, "rb") as answer:
                assert answer.read(1), (self.folder / "network.log").read_text()
            yield
        finally:
            slirp.kill()
            slirp.wait()

    def _remove_cgroups(self) -> None:
        """Remove the groups of containers, which cgroups version 1 leaves."""
        for parent in CGROUPS.glob(f"**{self._parent}"):
            for folder, _, _ in os.walk(parent, topdown=False):
                Path(folder).rmdir()


def _enter_network(process: int) -> None:
    """Move this thread, and no other, into the network of that process."""
    with Path(f"/proc/{process}/ns/net").open() as namespace:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
