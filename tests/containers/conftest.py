"""A Docker engine with Bucketline's containers, shared by the tests of this folder.

They need root, a few Debian packages and minutes, so they run only with --containers-in FOLDER,
where the engine keeps its programs and images; .ci/containers gives it a temporary one.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.containers.deployment import Deployment, copy_checkout
from tests.containers.engine import Debian, Engine, require_engine
from tests.containers.images import import_python, make_python, make_servers

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--containers-in"):
        return
    reason = "containers: .ci/containers runs it, or --containers-in FOLDER as root on Debian"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def folder(request: pytest.FixtureRequest) -> Path:
    """The folder of --containers-in. Without what the engine needs, tests are skipped or fail."""
    require_engine()
    given = Path(request.config.getoption("--containers-in")).resolve()
    given.mkdir(parents=True, exist_ok=True)
    return given


@pytest.fixture(scope="session")
def engine(folder: Path) -> Iterator[Engine]:
    """A running Docker engine that has the image on which ours is based."""
    debian = Debian(folder / "debian")
    programs = folder / "programs"
    with ThreadPoolExecutor(1) as thread:
        made = thread.submit(make_python, debian)
        if not programs.exists():
            debian.unpack(programs)
        with Engine(folder, programs) as engine:
            import_python(engine, made.result())
            yield engine


@pytest.fixture(scope="session")
def deployment(engine: Engine, folder: Path) -> Iterator[Deployment]:
    """All containers, deployed and healthy, with the sample; at the end everything is removed."""
    checkout = copy_checkout(folder / "checkout")
    deployment = Deployment(engine, checkout)
    with ThreadPoolExecutor(1) as thread:
        servers = thread.submit(make_servers, engine, checkout, folder / "stand-ins")
        deployment.compose("build")
        servers.result()
    deployment.remove_volumes()
    deployment.deploy()
    yield deployment
    deployment.remove_volumes()
