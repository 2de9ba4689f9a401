"""Effective settings: their origins, and no secret in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ByteSize, TypeAdapter

from etl.settings import Settings
from etl.settings.effective import (
    MASKED,
    EffectiveSetting,
    SettingOrigin,
    effective_settings,
)
from etl.settings.values import size_text

SECRETS = {
    "S3_SECRET_KEY": "hunter2-of-the-store",
    "DATABASE_URL": "postgresql://user:hunter2@host/name",
    "WEBHOOK_TOKEN": "hunter2-of-the-webhook",
    "API_KEYS": f"ops:admin:{'0a' * 32}",
    "ALERT_URL": "https://hooks.example.com/hunter2",
    "ALERT_SECRET": "hunter2-of-the-alerts",
    "KAFKA_SASL_PASSWORD": "hunter2-of-kafka",
    "KAFKA_OPTIONS": "ssl.key.password=hunter2-of-the-key",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


def shown() -> dict[str, EffectiveSetting]:
    return {one.name: one for one in effective_settings(Settings())}


def test_every_setting_is_shown_with_its_default():
    found = shown()
    assert list(found) == [name.upper() for name in Settings.model_fields]
    assert {one.origin for one in found.values()} == {SettingOrigin.DEFAULT}
    assert found["ETL_INTERVAL"].value == "25m"
    assert found["RETIRED_RETENTION"].value == "forever"
    assert found["API_OPEN"].value == "false"
    assert found["OBJECT_MAX_SIZE"].value == "5GiB"
    assert found["EXPANDED_MAX_SIZE"].value == "100GB"
    assert found["THUMBNAIL_SIZES"].value == "256,64"
    assert found["S3_ENDPOINT"].value == ""


def test_values_name_where_they_were_set(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / ".env").write_text("SOURCE_BUCKET=of-file\netl_interval=1h\nAPI_PORT=\n")
    monkeypatch.setenv("SOURCE_BUCKET", "of-environment")
    monkeypatch.setenv("API_HOST", "")
    found = shown()
    assert found["SOURCE_BUCKET"].value == "of-environment"
    assert found["SOURCE_BUCKET"].origin is SettingOrigin.ENVIRONMENT
    assert (found["ETL_INTERVAL"].value, found["ETL_INTERVAL"].origin) == ("1h", ".env")
    assert found["API_PORT"].origin is SettingOrigin.DEFAULT
    assert found["API_HOST"].origin is SettingOrigin.DEFAULT


def test_addresses_of_embedded_servers_are_set_by_the_program():
    settings = Settings().model_copy(update={"s3_endpoint": "http://127.0.0.1:9000"})
    found = {one.name: one for one in effective_settings(settings)}
    assert found["S3_ENDPOINT"].origin is SettingOrigin.PROGRAM


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    found = shown()
    for name in SECRETS:
        assert found[name].origin is SettingOrigin.ENVIRONMENT, name
        expected = "ssl.key.password=…" if name == "KAFKA_OPTIONS" else MASKED
        assert found[name].value == expected, name
    assert "hunter2" not in repr(found)


@given(st.integers(0, 1 << 50) | st.integers(0, 1 << 20).map(lambda count: count * 1000**2))
def test_sizes_are_written_as_they_can_be_set(count: int):
    assert TypeAdapter(ByteSize).validate_python(size_text(count)) == count


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (50_000_000, "50MB"), (5 << 30, "5GiB"), (1_024_000, "1000KiB")],
)
def test_sizes_have_the_largest_whole_unit(count: int, text: str):
    assert size_text(count) == text
