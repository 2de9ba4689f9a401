"""deploy/kubernetes: valid for Kubernetes, and true of the program and its image.

Nothing here starts a cluster.
"""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml

from api import POOL_SIZE, create_app
from api.security.auth import sessions_of
from api.server import require_key_if_exposed
from etl import __version__
from etl.runtime.program import PROGRAM
from etl.settings import Settings
from etl.settings.datasets_file import read_datasets
from tests.kubernetes import (
    FOLDER,
    ROOT,
    Resource,
    containers,
    lines_of,
    of_kind,
    parse,
    pod_containers,
    pod_templates,
    render,
    secret_keys,
    selected,
)

HOW_TO = (ROOT / "docs" / "how-to" / "deploy-on-kubernetes.md").read_text("utf-8")
VERSIONS = ("1.29", "1.37")
WITHOUT_SCHEMA = {"ServiceMonitor"}  # a kind of the Prometheus Operator
MEBIBYTE = 1 << 20
UNITS = {"Mi": 1, "Gi": 1024}
ALL_PODS = {"app.kubernetes.io/name": "bucketline"}
REPLACED = "components: []"
DASK = "bucketline-dask"
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
IMAGE_ENVIRONMENT = dict(
    re.findall(r'^(?:ENV| {4}) ?([A-Z_]+)=("[^"]*"|\S+)', DOCKERFILE, re.MULTILINE)
)


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> list[Resource]:
    """The installation that the how-to describes, with all components."""
    folder = tmp_path_factory.mktemp("installation")
    (folder / "bucketline").symlink_to(ROOT)
    (block,) = re.findall(r"^```yaml\n(.*?)^```", HOW_TO, re.DOTALL | re.MULTILINE)
    assert REPLACED in block
    paths = sorted(f"bucketline/deploy/kubernetes/components/{name}" for name in components())
    text = block.replace(REPLACED, f"components: [{', '.join(paths)}]")
    (folder / "kustomization.yaml").write_text(text, "utf-8")
    (folder / "datasets.toml").write_bytes((FOLDER / "base" / "datasets.toml").read_bytes())
    return render(folder)


def of_bucketline(resources: list[Resource]) -> dict[str, Resource]:
    """The containers that run commands of Bucketline. Workers of Dask get settings with tasks."""
    return {name: one for name, one in containers(resources).items() if not name.startswith(DASK)}


def components() -> list[str]:
    return [path.name for path in (FOLDER / "components").iterdir()]


@pytest.fixture(params=["base", "overlays/cronjob", "overlays/ingress", "documented"])
def resources(request: pytest.FixtureRequest) -> list[Resource]:
    if request.param == "documented":
        found: list[Resource] = request.getfixturevalue("documented")
        return found
    return render(FOLDER / request.param)


def settings_of(resources: list[Resource]) -> dict[str, str]:
    """The data of the ConfigMap with the settings."""
    (data,) = [
        one["data"]
        for name, one in of_kind(resources, "ConfigMap").items()
        if name.startswith("bucketline-settings")
    ]
    return dict(data)


def mebibytes(quantity: str) -> int:
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


# -- valid


def test_every_overlay_is_rendered_here():
    folders = {path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("overlays/*")}
    assert folders == {"overlays/cronjob", "overlays/ingress"}


def test_resources_are_valid_for_the_oldest_and_the_newest_version(resources: list[Resource]):
    for version in VERSIONS:
        for one in resources:
            if one["kind"] not in WITHOUT_SCHEMA:
                kubernetes_validate.validate(one, version, strict=True)
        assert f"{version} " in HOW_TO.replace(",", " ")


def test_validation_is_strict():
    broken = yaml.safe_load(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {prots: []}}"
    )
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_base_needs_no_kinds_of_operators():
    for folder in ("base", "overlays/cronjob", "overlays/ingress"):
        assert not of_kind(render(FOLDER / folder), *WITHOUT_SCHEMA)


# -- the image and its user


def test_every_image_has_the_tag_of_this_version(resources: list[Resource]):
    for name, container in containers(resources).items():
        repository, _, tag = container["image"].rpartition(":")
        assert repository.endswith("bucketline"), name
        assert tag == __version__, name


def test_every_part_names_the_tag_of_this_version():
    """Also those whose tag another part overrides."""
    for path in FOLDER.rglob("kustomization.yaml"):
        images = yaml.safe_load(path.read_text("utf-8")).get("images", [])
        assert {one["newTag"] for one in images} <= {__version__}, path


def test_pods_run_as_the_user_of_the_image(resources: list[Resource]):
    ((user, group),) = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    for name, template in pod_templates(resources).items():
        context = template["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group)), name
        assert context["fsGroup"] == int(group), name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name


def test_no_container_can_gain_privileges_or_write_to_its_image(resources: list[Resource]):
    for name, container in containers(resources).items():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name


def test_pods_get_no_token_and_no_variables_of_services(resources: list[Resource]):
    for name, template in pod_templates(resources).items():
        assert template["spec"]["automountServiceAccountToken"] is False, name
        assert template["spec"]["enableServiceLinks"] is False, name


def test_every_container_has_requests_and_limits(resources: list[Resource]):
    for name, container in containers(resources).items():
        given = container["resources"]
        assert given["requests"].keys() == given["limits"].keys() == {"cpu", "memory"}, name


# -- commands


def test_every_command_and_option_exists(resources: list[Resource]):
    started = {
        name: [parse(line) for line in lines_of(container)]
        for name, container in of_bucketline(resources).items()
    }
    assert all(started.values())
    assert started["bucketline-migrate/migrate"] == [["migrate"]]
    assert started["bucketline-api/api"] == [["serve"]]


def test_an_unknown_option_is_found():
    script = "until bucketline runs list --limt 1 >/dev/null; do sleep 5; done"
    (line,) = lines_of({"command": ["sh", "-c", script]})
    assert line == ["runs", "list", "--limt", "1"]
    with pytest.raises(click.UsageError):
        parse(line)


def test_long_running_pods_wait_for_the_tables(resources: list[Resource]):
    for name, one in of_kind(resources, "Deployment").items():
        if name.startswith(DASK):
            continue
        (wait,) = one["spec"]["template"]["spec"]["initContainers"]
        script = wait["command"][-1]
        assert re.fullmatch(r"until bucketline runs list .*; do sleep 5; done", script), name


def test_cronjob_replaces_the_scheduler():
    found = render(FOLDER / "overlays" / "cronjob")
    (run,) = of_kind(found, "CronJob").values()
    assert set(of_kind(found, "Deployment")) == {"bucketline-api"}
    assert run["spec"]["concurrencyPolicy"] == "Forbid"
    interval = settings_of(found)["ETL_INTERVAL"].removesuffix("m")
    assert run["spec"]["schedule"] == f"*/{interval} * * * *"
    (container,) = pod_containers(pod_templates(found)["bucketline-run"]["spec"])
    assert [parse(line) for line in lines_of(container)] == [["run"], ["images"]]


def test_every_deployment_selects_its_own_pods_alone(resources: list[Resource]):
    for name, one in of_kind(resources, "Deployment").items():
        assert selected(one["spec"]["selector"], resources) == {name}


def test_one_scheduler_ends_before_the_next_one_starts():
    scheduler = of_kind(render(FOLDER / "base"), "Deployment")["bucketline-scheduler"]["spec"]
    assert (scheduler["replicas"], scheduler["strategy"]) == (1, {"type": "Recreate"})
    (container,) = scheduler["template"]["spec"]["containers"]
    assert list(lines_of(container)) == [["schedule"]]


# -- settings


def test_every_variable_is_a_setting(resources: list[Resource]):
    known = {name.upper() for name in Settings.model_fields}
    assert set(settings_of(resources)) <= known | {PROGRAM}
    for name, container in of_bucketline(resources).items():
        assert {variable["name"] for variable in container["env"]} <= known, name


def test_settings_are_valid_and_name_servers_of_the_user(resources: list[Resource]):
    names = {name.lower(): value for name, value in settings_of(resources).items()}
    settings = Settings(_env_file=None, **names)
    assert not settings.embeds_object_store
    assert not {"database_url", "s3_secret_key", "api_open"} & set(names)


def test_variables_come_from_the_settings_and_from_secrets_alone(resources: list[Resource]):
    maps = of_kind(resources, "ConfigMap")
    assert not of_kind(resources, "Secret")
    for name, container in of_bucketline(resources).items():
        ((source,),) = [one.values() for one in container["envFrom"]]
        assert source["name"] in maps, name
        assert all(set(one) == {"name", "valueFrom"} for one in container["env"]), name
        assert "DATABASE_URL" in {one["name"] for one in container["env"]}, name


def test_documented_keys_of_the_secret_are_those_that_are_read(documented: list[Resource]):
    rows = re.findall(r"^ +\| (`[A-Z].*?) \| (yes|no) \|", HOW_TO, re.MULTILINE)
    keys = {key: needed for cell, needed in rows for key in re.findall(r"`(\w+)`", cell)}
    assert {("bucketline", key) for key in keys} == secret_keys(documented)
    for container in of_bucketline(documented).values():
        for variable in container["env"]:
            reference = variable["valueFrom"]["secretKeyRef"]
            is_optional = reference.get("optional", False)
            assert (variable["name"], is_optional) == (
                reference["key"],
                keys[reference["key"]] == "no",
            )


def test_datasets_are_valid_and_followed_without_a_restart(
    resources: list[Resource], tmp_path: Path
):
    data = of_kind(resources, "ConfigMap")["bucketline-datasets"]["data"]
    path = Path(settings_of(resources)["DATASETS_FILE"])
    (tmp_path / path.name).write_text(data[path.name], "utf-8")
    assert read_datasets(tmp_path / path.name, Settings(_env_file=None))


# -- files


def test_every_volume_is_there_and_only_limited_empty_ones_are_writable(
    resources: list[Resource],
):
    maps = of_kind(resources, "ConfigMap")
    for template in pod_templates(resources).values():
        spec = template["spec"]
        volumes = {one["name"]: one for one in spec["volumes"]}
        mounts = [mount for one in pod_containers(spec) for mount in one["volumeMounts"]]
        assert {mount["name"] for mount in mounts} == set(volumes)
        for mount in mounts:
            volume = volumes[mount["name"]]
            assert mount.get("readOnly", False) != ("emptyDir" in volume)
            assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"]
            assert "configMap" not in volume or volume["configMap"]["name"] in maps


def test_folders_that_the_program_writes_to_are_writable(resources: list[Resource]):
    local = str(Path(IMAGE_ENVIRONMENT["LOCAL_DIR"]).parent)
    for name, container in containers(resources).items():
        paths = {one["mountPath"] for one in container["volumeMounts"] if "readOnly" not in one}
        assert paths == {"/tmp", IMAGE_ENVIRONMENT["TMPDIR"], local}, name  # noqa: S108


def test_an_upload_fits_into_the_spool(resources: list[Resource]):
    (spool,) = [
        one["emptyDir"]["sizeLimit"]
        for one in pod_templates(resources)["bucketline-api"]["spec"]["volumes"]
        if one["name"] == "spool"
    ]
    largest = Settings(_env_file=None, object_max_size=settings_of(resources)["OBJECT_MAX_SIZE"])
    assert mebibytes(spool) * MEBIBYTE > 2 * largest.object_max_size  # a form is copied once


def test_keys_and_sessions_are_in_one_secret_that_all_pods_of_the_api_share(tmp_path: Path):
    found = render(FOLDER / "base")
    path = Path(settings_of(found)["API_KEYS_FILE"])
    spec = pod_templates(found)["bucketline-api"]["spec"]
    (mount,) = [one for one in spec["containers"][0]["volumeMounts"] if one["name"] == "keys"]
    (volume,) = [one for one in spec["volumes"] if one["name"] == "keys"]
    assert (mount["mountPath"], mount["readOnly"]) == (str(path.parent), True)
    assert f"kubectl create secret generic {volume['secret']['secretName']} " in HOW_TO
    assert re.findall(r"--from-file=(\S+)", HOW_TO) == [path.name, f"{path.name}-sessions"]
    assert sessions_files(tmp_path / path.name) == {f"{path.name}-sessions"}


def sessions_files(keys_file: Path) -> set[str]:
    """The files that the API keeps its sessions in, next to the file of its keys."""
    keys_file.write_text(f"ann:admin:{'0' * 64}\n", "utf-8")
    sessions_of(create_app(application(api_keys_file=keys_file))).form_token("a visitor")
    return {path.name for path in keys_file.parent.iterdir()} - {keys_file.name}


def application(**given: Any) -> Settings:  # noqa: ANN401 - of any setting
    """Settings with which the application can be created, without any server."""
    return Settings(_env_file=None, database_url="postgresql://db_user@127.0.0.1:9/none", **given)


# -- the API


def test_probes_ask_existing_routes_at_a_port_that_is_there(resources: list[Resource]):
    container = containers(resources)["bucketline-api/api"]
    routes = {rule.rule for rule in create_app(application()).url_map.iter_rules()}
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    probes = {name: one["httpGet"] for name, one in container.items() if name.endswith("Probe")}
    assert {name: one["path"] for name, one in probes.items()} == {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    assert {one["path"] for one in probes.values()} <= routes
    assert {one["port"] for one in probes.values()} <= set(ports)
    assert str(ports["http"]) == settings_of(resources)["API_PORT"]
    assert f"EXPOSE {ports['http']}\n" in DOCKERFILE


def test_api_listens_for_other_pods_and_requires_a_key(tmp_path: Path):
    keys_file = tmp_path / "api-keys"
    keys_file.touch()
    require_key_if_exposed(
        Settings(_env_file=None, api_host=IMAGE_ENVIRONMENT["API_HOST"], api_keys_file=keys_file)
    )


def test_services_and_ingresses_reach_the_port_of_the_api(documented: list[Resource]):
    service = of_kind(documented, "Service")["bucketline-api"]
    assert selected({"matchLabels": service["spec"]["selector"]}, documented) == {"bucketline-api"}
    (port,) = service["spec"]["ports"]
    assert port["targetPort"] in {
        one["name"] for one in containers(documented)["bucketline-api/api"]["ports"]
    }
    (ingress,) = of_kind(render(FOLDER / "overlays" / "ingress"), "Ingress").values()
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    backend = path["backend"]["service"]
    assert (backend["name"], backend["port"]["name"]) == (
        service["metadata"]["name"],
        port["name"],
    )


def test_autoscaler_alone_sets_the_replicas_of_the_api(resources: list[Resource]):
    (scaler,) = of_kind(resources, "HorizontalPodAutoscaler").values()
    target = of_kind(resources, "Deployment")[scaler["spec"]["scaleTargetRef"]["name"]]
    assert "replicas" not in target["spec"]
    assert scaler["spec"]["minReplicas"] > 1  # else the disruption budget admits an outage
    (budget,) = of_kind(resources, "PodDisruptionBudget").values()
    assert budget["spec"]["maxUnavailable"] == 1
    assert selected(budget["spec"]["selector"], resources) == {"bucketline-api"}
    connections = POOL_SIZE + 1  # one is for events
    text = (FOLDER / "base" / "api.yaml").read_text("utf-8")
    assert f"each has up to {connections} connections" in text
    assert scaler["spec"]["maxReplicas"] * connections < 100  # max_connections of PostgreSQL


def test_memory_suffices_for_the_processes_of_a_pod(resources: list[Resource]):
    """Each sandbox may take IMAGE_MEMORY_MB: two for checks, and one per core for images."""
    sandbox = Settings.model_fields["image_memory_mb"].default
    for name, limits in (
        (name, one["resources"]["limits"]) for name, one in containers(resources).items()
    ):
        if name == "bucketline-api/api":
            assert mebibytes(limits["memory"]) >= 256 + 2 * sandbox
        elif name in {"bucketline-scheduler/scheduler", "bucketline-run/run"}:
            assert mebibytes(limits["memory"]) >= 256 + int(limits["cpu"]) * sandbox


# -- the network


def test_every_pod_is_denied_what_no_policy_allows(resources: list[Resource]):
    policies = of_kind(resources, "NetworkPolicy")
    deny = policies.pop("bucketline-deny")["spec"]
    assert deny.keys() == {"podSelector", "policyTypes"}
    assert set(deny["policyTypes"]) == {"Ingress", "Egress"}
    assert deny["podSelector"] == {"matchLabels": ALL_PODS}
    pods = set(pod_templates(resources))
    for name in ("bucketline-deny", "bucketline-dns", "bucketline-database", "bucketline-store"):
        spec = policies.get(name, {"spec": deny})["spec"]
        assert selected(spec["podSelector"], resources) == pods, name


def test_policies_open_only_the_port_of_the_api_and_named_ports(resources: list[Resource]):
    rules = [
        (name, rule)
        for name, one in of_kind(resources, "NetworkPolicy").items()
        for rule in chain(one["spec"].get("ingress", []), one["spec"].get("egress", []))
    ]
    assert all(rule["ports"] for _, rule in rules)
    for name, one in of_kind(resources, "NetworkPolicy").items():
        for rule in one["spec"].get("ingress", []):
            if name.startswith(DASK):
                assert all("podSelector" in source for source in rule["from"]), name
                continue
            assert selected(one["spec"]["podSelector"], resources) == {"bucketline-api"}, name
            assert [port["port"] for port in rule["ports"]] == ["http"], name
            assert rule["from"], name


def test_names_are_resolved_by_the_dns_of_the_cluster(resources: list[Resource]):
    (rule,) = of_kind(resources, "NetworkPolicy")["bucketline-dns"]["spec"]["egress"]
    assert rule["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    assert {port["port"] for port in rule["ports"]} == {53}


def test_network_of_the_example_is_narrowed_to_single_namespaces():
    for name, one in of_kind(render(FOLDER / "overlays" / "ingress"), "NetworkPolicy").items():
        for rule in chain(one["spec"].get("ingress", []), one["spec"].get("egress", [])):
            peers = rule.get("from") or rule["to"]
            assert all(peer.get("ipBlock") or peer["namespaceSelector"] for peer in peers), name


# -- components


def test_monitor_scrapes_the_metrics_as_the_job_of_the_alert_rules(documented: list[Resource]):
    (monitor,) = of_kind(documented, "ServiceMonitor").values()
    service = of_kind(documented, "Service")["bucketline-api"]
    labels = service["metadata"]["labels"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] in {
        rule.rule for rule in create_app(application()).url_map.iter_rules()
    }
    rules = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text("utf-8")
    assert set(re.findall(r'job="(\w+)"', rules)) == {labels[monitor["spec"]["jobLabel"]]}
    credentials = endpoint["authorization"]["credentials"]
    assert f"Secret `{credentials['name']}`" in HOW_TO
    assert f"`{credentials['key']}` is a key" in HOW_TO.replace("\n", " ")


@pytest.mark.parametrize("queue", ["kafka", "sqs"])
def test_consumer_of_a_queue_is_a_component(queue: str, documented: list[Resource]):
    consumer = containers(documented)[f"bucketline-{queue}/consumer"]
    assert list(lines_of(consumer)) == [["events", queue]]


def test_dask_is_a_component_that_runs_use(documented: list[Resource]):
    found = containers(documented)
    scheduler = found["bucketline-dask/dask-scheduler"]
    worker = found["bucketline-dask-worker/dask-worker"]
    assert scheduler["command"] == ["dask", "scheduler"]
    assert worker["command"] == ["dask", "worker"]
    (service,) = (
        one
        for one in of_kind(documented, "Service").values()
        if one["metadata"]["name"] == "bucketline-dask"
    )
    address = f"tcp://bucketline-dask:{service['spec']['ports'][0]['port']}"
    assert worker["args"][0] == address
    (settings,) = (
        one["data"]
        for one in of_kind(documented, "ConfigMap").values()
        if "DASK_SCHEDULER" in one["data"]
    )
    assert settings["DASK_SCHEDULER"] == address


# -- the how-to


def test_parts_of_the_how_to_are_those_that_exist():
    parts = re.findall(r"^\| `([a-z/-]+)` \|", HOW_TO, re.MULTILINE)
    there = [path.parent for path in FOLDER.rglob("kustomization.yaml")]
    assert sorted(parts) == sorted(path.relative_to(FOLDER).as_posix() for path in there)


def test_how_to_names_existing_resources(documented: list[Resource]):
    names = {f"{one['kind'].lower()}/{one['metadata']['name']}" for one in documented}
    named = re.findall(r"\b(deploy(?:ment)?|job|service)/([a-z-]+)\b", HOW_TO)
    used = {f"{'deployment' if kind == 'deploy' else kind}/{name}" for kind, name in named}
    assert {one for one in used if "bucketline-" in one} <= names
    assert len(used & names) > 3
