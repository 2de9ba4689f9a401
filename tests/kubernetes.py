"""Renders of deploy/kubernetes by kubectl, and what tests ask of them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import yaml

from etl.cli.main import commands

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "kubernetes"

Resource = dict[str, Any]


@cache
def render(folder: Path) -> list[Resource]:
    """The resources that `kubectl apply -k` would apply."""
    places = (sysconfig.get_path("scripts"), os.environ["PATH"])
    kubectl = shutil.which("kubectl", path=os.pathsep.join(places))
    assert kubectl, "kubectl is missing: ./run.sh test installs it"
    done = subprocess.run(
        [kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def of_kind(resources: list[Resource], *kinds: str) -> dict[str, Resource]:
    """The resources of these kinds by name."""
    return {one["metadata"]["name"]: one for one in resources if one["kind"] in kinds}


def pod_templates(resources: list[Resource]) -> dict[str, Resource]:
    """The pod templates by the name of what makes the pods."""
    found = {}
    for name, one in of_kind(resources, "Deployment", "Job", "CronJob").items():
        spec = one["spec"]
        found[name] = spec.get("jobTemplate", {"spec": spec})["spec"]["template"]
    return found


def containers(resources: list[Resource]) -> dict[str, Resource]:
    """All containers, also those that start before others, as `bucketline-api/wait`."""
    return {
        f"{name}/{container['name']}": container
        for name, template in pod_templates(resources).items()
        for container in pod_containers(template["spec"])
    }


def pod_containers(spec: Resource) -> list[Resource]:
    return [*spec.get("initContainers", []), *spec["containers"]]


def secret_keys(resources: list[Resource]) -> set[tuple[str, str]]:
    """The Secrets and their keys that variables are read from."""
    return {
        (reference["name"], reference["key"])
        for container in containers(resources).values()
        for variable in container.get("env", [])
        for reference in [variable["valueFrom"]["secretKeyRef"]]
    }


def selected(selector: Resource, resources: list[Resource]) -> set[str]:
    """What makes the pods that a selector's labels match."""
    wanted = selector["matchLabels"].items()
    return {
        name
        for name, template in pod_templates(resources).items()
        if wanted <= template["metadata"]["labels"].items()
    }


def lines_of(container: Resource) -> Iterator[list[str]]:
    """The words of each command of Bucketline that a container starts."""
    if "command" not in container:
        yield container["args"]
        return
    shell, option, script = [*container["command"], *container.get("args", [])]
    assert (shell, option) == ("sh", "-c")
    words = shlex.split(script.replace(";", " ; ").replace(">", " > "))
    for at, word in enumerate(words):
        if word == "bucketline":
            rest = words[at + 1 :]
            ends = [rest.index(end) for end in (";", ">", "||") if end in rest]
            yield rest[: min(ends, default=len(rest))]


def parse(line: list[str]) -> list[str]:
    """The names of the command of a line, whose options and arguments are parsed.

    Raises:  click.UsageError for those that do not exist.
    """
    group: click.Command = commands
    names = []
    context = click.Context(commands)
    while isinstance(group, click.Group):
        name, found, line = group.resolve_command(context, line)
        assert found is not None
        names.append(str(name))
        group = found
    group.make_context(names[-1], line, parent=context)
    return names
