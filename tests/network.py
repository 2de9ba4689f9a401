"""Hosts on a network of the test's own: namespaces on a bridge, whose cables can be pulled.

It needs root, iproute2 and a kernel with network namespaces. Nothing outside of the namespaces
changes, and all of them are removed at the end.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import pytest

PREFIX = "bucketline"
NETWORK = "10.77.0.0/24"
_CLONE_NEWNET = 0x40000000
_OWN = Path("/proc/thread-self/ns/net")
_NAMED = Path("/run/netns")
_CHAINS = ("INPUT", "OUTPUT")
_SWITCH = "lan"  # the namespace with the bridge


class Lan:
    """Hosts by name, each with the address `address(name)` on its interface eth0."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._made: list[str] = []

    def address(self, name: str) -> str:
        return f"10.77.0.{self.names.index(name) + 2}"

    def build(self) -> None:
        self._add(_SWITCH)
        self._in_switch("link", "add", "br0", "type", "bridge")
        self._in_switch("link", "set", "br0", "up")
        for name in self.names:
            self._add(name)
            self._connect(name)

    def remove(self) -> None:
        """Remove every host. Its processes must have ended."""
        for name in self._made:
            _ip("netns", "del", name)
        self._made.clear()

    def _add(self, name: str) -> None:
        _ip("netns", "add", self._namespace(name))
        self._made.append(self._namespace(name))
        self._in_host(name, "link", "set", "lo", "up")

    def _connect(self, name: str) -> None:
        port, host = _port(name), self._namespace(name)
        self._in_switch(
            *("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host)
        )
        self._in_switch("link", "set", port, "master", "br0", "up")
        self._in_host(name, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
        self._in_host(name, "link", "set", "eth0", "up")

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Open sockets and start threads and processes on that host while the block runs.

        It concerns only the thread that calls it, and threads and processes that this one starts.
        """
        with _opened(_OWN) as before, _opened(_NAMED / self._namespace(name)) as host:
            _enter(host)
            try:
                yield
            finally:
                _enter(before)

    # -- faults

    def pull(self, name: str) -> None:
        """Pull the cable of a host."""
        self._in_switch("link", "set", _port(name), "down")

    def plug(self, name: str) -> None:
        """Plug the cable in again."""
        self._in_switch("link", "set", _port(name), "up")

    @contextmanager
    def pulled(self, name: str) -> Iterator[None]:
        self.pull(name)
        try:
            yield
        finally:
            self.plug(name)

    @contextmanager
    def parted(self, one: str, other: str) -> Iterator[None]:
        """Let two hosts reach all others, but not each other: they send to no network card."""
        pairs = ((one, other), (other, one))
        nowhere = ("lladdr", "02:00:00:00:00:01", "nud", "permanent")
        for host, peer in pairs:
            self._in_host(host, "neigh", "replace", self.address(peer), "dev", "eth0", *nowhere)
        try:
            yield
        finally:
            for host, peer in pairs:
                self._in_host(host, "neigh", "del", self.address(peer), "dev", "eth0")

    @contextmanager
    def losing_packets(self, name: str, share: float) -> Iterator[str]:
        """Drop this share of the packets of a host in both directions; yield the way it is done.

        Not every kernel has each way: the queue netem, the statistic of iptables, or a cable that
        is loose.
        """
        loss = ("dev", "eth0", "root", "netem", "loss", f"{share * 100:g}%")
        drop = ("-m", "statistic", "--mode", "random", "--probability", f"{share}", "-j", "DROP")
        try:
            if self._runs(name, "tc", "qdisc", "add", *loss):
                yield "netem"
            elif all(self._runs(name, "iptables", "-A", chain, *drop) for chain in _CHAINS):
                yield "iptables"
            else:
                with self._loose(name, share):
                    yield "a loose cable"
        finally:
            self._runs(name, "tc", "qdisc", "del", "dev", "eth0", "root")
            self._runs(name, "iptables", "-F")

    @contextmanager
    def _loose(self, name: str, share: float) -> Iterator[None]:
        ending, random = threading.Event(), Random(0)  # noqa: S311 - the same each time

        def shake() -> None:
            while not ending.wait(random.expovariate(1 / (1 - share))):
                with self.pulled(name):
                    ending.wait(random.expovariate(1 / share))

        thread = threading.Thread(target=shake)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()

    # -- commands

    def _namespace(self, name: str) -> str:
        return f"{PREFIX}-{os.getpid()}-{name}"

    def _in_switch(self, *words: str) -> None:
        _ip("-n", self._namespace(_SWITCH), *words)

    def _in_host(self, name: str, *words: str) -> None:
        _ip("-n", self._namespace(name), *words)

    def _runs(self, name: str, program: str, *words: str) -> bool:
        """Whether a command that may be missing has succeeded on a host."""
        if shutil.which(program) is None:
            return False
        with self.inside(name):
            done = subprocess.run([program, *words], capture_output=True, check=False)
        return done.returncode == 0


@contextmanager
def lan(names: Sequence[str]) -> Iterator[Lan]:
    """The hosts while the block runs; skips the test where there can be none, fails in CI."""
    _remove_leftovers()
    made = Lan(names)
    try:
        try:
            made.build()
        except (OSError, subprocess.CalledProcessError) as error:
            _give_up(error)
        yield made
    finally:
        made.remove()


def _give_up(error: Exception) -> None:
    detail = getattr(error, "stderr", b"").decode().strip() or str(error)
    reason = f"hosts need root, iproute2 (`apt install iproute2`) and namespaces: {detail}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _remove_leftovers() -> None:
    """Remove the namespaces of tests that were killed."""
    for path in _NAMED.glob(f"{PREFIX}-*") if _NAMED.is_dir() else ():
        found = re.match(rf"{PREFIX}-(\d+)-", path.name)
        if found and not Path(f"/proc/{found[1]}").exists():
            with suppress(OSError, subprocess.CalledProcessError):
                _ip("netns", "del", path.name)


def _port(name: str) -> str:
    return f"v-{name}"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)  # noqa: S607 - as installed


@contextmanager
def _opened(namespace: Path) -> Iterator[int]:
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot enter the network namespace")
