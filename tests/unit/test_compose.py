"""docker-compose.yml and the Dockerfile, checked without a container engine."""

from __future__ import annotations

import json
import re
import shlex
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from api.server import require_key_if_exposed
from etl.cli.main import commands
from etl.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def instructions() -> list[tuple[str, list[str]]]:
    """The Dockerfile's instructions in order, each with its words; comments are left out."""
    text = "\n".join(
        line for line in (ROOT / "Dockerfile").read_text().splitlines() if line[:1] != "#"
    )
    lines = text.replace("\\\n", " ").splitlines()
    return [(words[0], words[1:]) for line in lines if (words := shlex.split(line))]


def arguments(instruction: str) -> list[list[str]]:
    """The words of every such instruction."""
    return [words for name, words in DOCKERFILE if name == instruction]


def options(words: list[str], name: str) -> list[str]:
    """The values that follow an option."""
    return [value for option, value in pairwise(words) if option == name]


DOCKERFILE = instructions()
ENVIRONMENT = dict(word.split("=", 1) for words in arguments("ENV") for word in words)
COMMANDS = [
    list(words)
    for run in arguments("RUN")
    for is_separator, words in groupby(run, lambda word: word == "&&")
    if not is_separator
]
OURS = ("setup", "scheduler", "api", "consumer")
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY")


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_ports_are_published_on_loopback_only(service: dict[str, Any]):
    assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_no_secret_is_in_the_file(service: dict[str, Any]):
    for name, value in service["environment"].items():
        if SECRET.search(name):
            assert "${" in value, name
    assert not re.search(r"\$\{[A-Z_]*PASSWORD:?-[^}]", json.dumps(service)), (
        "a password has a default"
    )


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_no_service_can_gain_privileges(service: dict[str, Any]):
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_read_only_without_capabilities(name: str):
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["cap_drop"] == ["ALL"]


def test_conditions_of_depends_on_can_be_met():
    for service in SERVICES.values():
        for name, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "test" in SERVICES[name]["healthcheck"], name
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert SERVICES[name]["restart"] == "no", name


def test_all_services_but_the_one_shots_restart():
    restarts = {name: service["restart"] for name, service in SERVICES.items()}
    assert {restarts.pop("setup"), restarts.pop("topic")} == {"no"}
    assert set(restarts.values()) == {"unless-stopped"}


def test_every_volume_is_declared_and_mounted():
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    named = {re.sub(r"\$\{\w+:-(\w+)\}", r"\1", mount).partition(":")[0] for mount in mounts}
    files = {name for name in named if name.startswith("./")}
    assert named - files == set(COMPOSE["volumes"])
    assert all((ROOT / file).is_file() for file in files)
    assert "database:/var/lib/postgresql" in mounts


def test_images_have_a_tag_and_can_be_pulled():
    images = {name: service["image"] for name, service in SERVICES.items()}
    assert all(re.search(r":[^:]+$", image) for image in images.values())
    assert not any(image.endswith(":latest") for image in images.values())
    assert not any(image.startswith(("minio/", "quay.io/minio/")) for image in images.values())


def test_our_services_set_only_existing_settings():
    known = {name.upper() for name in Settings.model_fields} | {"PGPASSWORD"}
    for name in OURS:
        assert set(SERVICES[name]["environment"]) <= known


def test_our_services_use_neither_embedded_server():
    for name in OURS:
        assert {"S3_ENDPOINT", "DATABASE_URL"} <= set(SERVICES[name]["environment"])


def test_database_url_matches_the_database_service():
    made = SERVICES["database"]["environment"]
    used = SERVICES["api"]["environment"]["DATABASE_URL"]
    user, name = made["POSTGRES_USER"], made["POSTGRES_DB"]
    assert used == f"postgresql://{user}@database:5432/{name}"


def test_passwords_need_no_escaping():
    made = SERVICES["database"]["environment"]["POSTGRES_PASSWORD"]
    for name in OURS:
        environment = SERVICES[name]["environment"]
        assert environment["PGPASSWORD"] == made
        assert not [value for value in environment.values() if re.search(r"://.*\$\{.*@", value)]


def test_image_is_built_once_and_never_pulled():
    assert [name for name, service in SERVICES.items() if "build" in service] == ["setup"]
    used = {name: SERVICES[name]["pull_policy"] for name in OURS if name != "setup"}
    assert set(used.values()) == {"never"}
    assert len({SERVICES[name]["image"] for name in OURS}) == 1


def test_image_has_no_health_check_that_services_must_disable():
    assert not arguments("HEALTHCHECK")
    assert not [name for name in SERVICES if "disable" in SERVICES[name].get("healthcheck", {})]


def test_a_folder_with_a_datasets_file_is_optional():
    """Without it, an empty volume is mounted and DATASETS_FILE is empty."""
    mount = "${DATASETS_FOLDER:-datasets}:/datasets:ro"
    for name in OURS:
        assert mount in SERVICES[name]["volumes"]
        file = SERVICES[name]["environment"]["DATASETS_FILE"]
        assert file == "${DATASETS_FOLDER:+/datasets/datasets.toml}"


def test_uploads_are_spooled_to_a_volume_and_memory_is_limited():
    folder = ENVIRONMENT["TMPDIR"]
    assert f"spool:{folder}" in SERVICES["api"]["volumes"]
    assert not [mount for mount in SERVICES["api"]["tmpfs"] if mount.startswith(folder)]
    assert all("size=" in mount for name in OURS for mount in SERVICES[name]["tmpfs"])
    assert SERVICES["api"]["mem_limit"] == "${API_MEMORY_LIMIT:-512m}"
    assert SERVICES["scheduler"]["mem_limit"] == "${SCHEDULER_MEMORY_LIMIT:-3g}"


def test_store_keys_match_the_store_service():
    made = SERVICES["store"]["environment"]
    used = SERVICES["api"]["environment"]
    assert used["S3_ACCESS_KEY"] == made["MINIO_ROOT_USER"]
    assert used["S3_SECRET_KEY"] == made["MINIO_ROOT_PASSWORD"]


def test_every_command_and_option_exists_in_the_cli():
    (script,) = SERVICES["setup"]["command"]
    lines = [line.removeprefix("bucketline ").split() for line in script.split(" && ")]
    lines += [SERVICES[name]["command"] for name in ("scheduler", "api")]
    lines += [line.partition("bucketline ")[2].split() for line in _consumer().split(" && ")]
    used = [line[0] for line in lines]
    assert used == ["migrate", "seed", "events", "schedule", "serve", "events", "events"]
    for name, *rest in lines:
        command = commands.commands[name]
        if isinstance(command, click.Group):
            command = command.commands[rest.pop(0)]
        known = {option for each in command.params for option in each.opts}
        assert {word for word in rest if word.startswith("-")} <= known


def test_store_sends_events_to_the_api_with_its_webhook_token():
    made = SERVICES["store"]["environment"]
    used = SERVICES["api"]["environment"]
    for arn in used["EVENT_ARNS"].split(","):
        number = arn.split(":")[4]
        assert made[f"MINIO_NOTIFY_WEBHOOK_ENABLE_{number}"] == "on"
        assert made[f"MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_{number}"] == used["WEBHOOK_TOKEN"]
        endpoint = made[f"MINIO_NOTIFY_WEBHOOK_ENDPOINT_{number}"]
        port = Settings.model_fields["api_port"].default
        assert endpoint == f"http://api:{port}/minio-event"
    queues = [value for name, value in made.items() if "QUEUE_DIR" in name]
    assert [f"events:{queue}" for queue in queues] == ["events:/events"]


def test_image_listens_on_the_published_port():
    assert ENVIRONMENT["API_HOST"] == "0.0.0.0"  # noqa: S104 - inside its container
    port = Settings.model_fields["api_port"].default
    assert {entry.rpartition(":")[2] for entry in SERVICES["api"]["ports"]} == {str(port)}
    assert arguments("EXPOSE") == [[str(port)]]
    assert f"http://127.0.0.1:{port}/health" in SERVICES["api"]["healthcheck"]["test"][-1]


def test_api_may_listen_and_keeps_its_keys_in_a_volume():
    given = SERVICES["api"]["environment"]
    defaults = {
        name.lower(): re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", given[name]) or None
        for name in ("API_OPEN", "API_KEYS", "API_KEYS_FILE")
    }
    settings = Settings(_env_file=None, api_host="0.0.0.0", **defaults)  # noqa: S104
    require_key_if_exposed(settings)
    folder = str(settings.key_file.parent)
    assert f"keys:{folder}" in SERVICES["api"]["volumes"]
    (install,) = [words for words in COMMANDS if words[0] == "install"]
    assert {"--owner=10001", "--group=10001", "--mode=0700", folder} <= set(install)


def test_image_runs_as_an_unprivileged_numeric_user():
    assert arguments("USER") == [["10001:10001"]]
    names = [name for name, _ in DOCKERFILE]
    assert names.index("USER") < names.index("ENTRYPOINT")


def test_copied_files_exist_and_are_not_docker_ignored():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [line.removeprefix("!") for line in lines if line.startswith("!")]
    copied = [words for words in arguments("COPY") if not words[0].startswith("--from=")]
    sources = [source for words in copied for source in words[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert source in allowed


def test_the_image_installs_the_runtime_lock_by_hash():
    pip = ["python", "-m", "pip", "--python", "/opt/venv/bin/python"]
    (install,) = [words for words in COMMANDS if words[: len(pip) + 1] == [*pip, "install"]]
    assert {"--require-hashes", "--no-deps"} <= set(install)
    assert [Path(lock).name for lock in options(install, "--requirement")] == [
        "requirements.lock",
        "requirements-kafka.lock",
        "requirements-otel.lock",
        "requirements-dask.lock",
    ]
    assert [*pip, "check"] in COMMANDS
    assert not [word for _, words in DOCKERFILE for word in words if "requirements-dev" in word]


def _consumer() -> str:
    (script,) = SERVICES["consumer"]["command"]
    return str(script)


def test_bucket_is_subscribed_to_the_configured_kafka_target():
    store = SERVICES["store"]["environment"]
    (name,) = {key.rpartition("_")[2] for key in store if key.startswith("MINIO_NOTIFY_KAFKA_")}
    assert f"--arn arn:minio:sqs::{name}:kafka " in _consumer()
    assert store[f"MINIO_NOTIFY_KAFKA_ENABLE_{name}"] == "${MINIO_NOTIFY_KAFKA:-off}"


def test_profiles_are_complete_and_optional():
    profiled = {name for name, service in SERVICES.items() if "profiles" in service}
    assert {name for name in profiled if SERVICES[name]["profiles"] == ["kafka"]} == {
        *("kafka", "topic", "consumer")
    }
    assert {name for name in profiled if SERVICES[name]["profiles"] == ["dask"]} == {
        *("dask-scheduler", "dask-worker")
    }
    for name in set(SERVICES) - profiled:
        assert not set(SERVICES[name].get("depends_on", {})) & profiled


def test_workers_and_the_how_to_name_the_address_of_the_dask_scheduler():
    scheduler, worker = SERVICES["dask-scheduler"], SERVICES["dask-worker"]
    (port,) = options(scheduler["command"], "--port")
    address = f"tcp://dask-scheduler:{port}"
    assert worker["command"][0] == address
    assert "ports" not in scheduler  # its clients can run code on the workers
    how_to = (ROOT / "docs" / "how-to" / "read-on-dask-workers.md").read_text("utf-8")
    assert f"DASK_SCHEDULER={address}" in how_to
    assert worker["environment"]["DASK_SCHEDULER"] == "${DASK_SCHEDULER:-}"


def test_store_and_consumer_use_the_same_broker_and_topic():
    store, consumer = SERVICES["store"]["environment"], SERVICES["consumer"]["environment"]
    topic, kafka = SERVICES["topic"], SERVICES["kafka"]
    default = Settings.model_fields["kafka_topic"].default
    assert store["MINIO_NOTIFY_KAFKA_TOPIC_BUCKETLINE"] == consumer["KAFKA_TOPIC"]
    assert (
        consumer["KAFKA_TOPIC"] == topic["environment"]["TOPIC"] == f"${{KAFKA_TOPIC:-{default}}}"
    )
    broker = store["MINIO_NOTIFY_KAFKA_BROKERS_BUCKETLINE"]
    assert broker in consumer["KAFKA_BOOTSTRAP_SERVERS"]
    assert f"--bootstrap-server {broker} " in topic["command"][0]
    assert kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].endswith(f"//{broker}")
    assert topic["image"] == kafka["image"]


def test_compose_sets_every_kafka_setting_to_its_default():
    environment = SERVICES["consumer"]["environment"]
    for name, field in Settings.model_fields.items():
        if name.startswith("kafka_") and name != "kafka_bootstrap_servers":
            variable = name.upper()
            default = "" if field.default_factory else field.default or ""
            assert environment[variable] == f"${{{variable}:-{default}}}"


def test_pgadmin_is_optional_and_has_the_server_and_its_password():
    pgadmin, database = SERVICES["pgadmin"], SERVICES["database"]["environment"]
    assert pgadmin["profiles"] == ["pgadmin"]
    assert pgadmin["ports"] == [f"127.0.0.1:5050:{pgadmin['environment']['PGADMIN_LISTEN_PORT']}"]
    (file,) = [mount.split(":")[0] for mount in pgadmin["volumes"]]
    ((_, server),) = json.loads((ROOT / file).read_text())["Servers"].items()
    assert (server["Host"], server["Port"]) == ("database", 5432)
    assert server["Username"] == database["POSTGRES_USER"]
    assert server["MaintenanceDB"] == database["POSTGRES_DB"]
    printed = server["PasswordExecCommand"].removeprefix("printenv ")
    assert pgadmin["environment"][printed] == database["POSTGRES_PASSWORD"]
    allowed = pgadmin["environment"]["PGADMIN_CONFIG_ENABLE_SERVER_PASS_EXEC_CMD"]
    assert allowed == "True"
    tested = (ROOT / "tests/containers/stand_ins/pgadmin.txt").read_text()
    assert f"\npgadmin4=={pgadmin['image'].partition(':')[2]}\n" in tested
