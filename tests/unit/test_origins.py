"""The Host headers that an open API accepts, and the client that owns a keyless request."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.security.limits import rate_limit_key
from api.security.origins import is_trusted_host
from api.server import require_key_if_exposed
from etl.model.errors import ConfigurationError
from etl.model.roles import Role, entry_for, new_key
from etl.settings import Settings

EVERYWHERE = "0.0.0.0"  # noqa: S104 - no socket listens there
ADDRESSES = [
    "127.0.0.1:5000",
    "127.0.0.1",
    "[::1]:5000",
    "192.0.2.7:80",
    "localhost",
    "a.localhost",
]
DOTTED = ["evil.example", "evil.example:5000", "localhost.evil.example", "127.0.0.1.nip.io"]
NONSENSE = ["a:b:c", "[::1", "]", "127.0.0.1:5000:1", "[evil.example]"]


@pytest.mark.parametrize("host", ADDRESSES)
def test_addresses_and_localhost_are_local(host: str):
    assert is_trusted_host(host, own_name="127.0.0.1", any_short_name=False)
    assert is_trusted_host(host.upper(), own_name="127.0.0.1", any_short_name=True)


@pytest.mark.parametrize("host", [*DOTTED, *NONSENSE, "", ":80", "."])
def test_names_that_others_can_register_are_not_local(host: str):
    assert not is_trusted_host(host, own_name="127.0.0.1", any_short_name=False)
    assert not is_trusted_host(host, own_name="127.0.0.1", any_short_name=True)


def test_short_host_names_are_allowed_only_on_the_local_network():
    assert is_trusted_host("api:5000", own_name=EVERYWHERE, any_short_name=True)
    assert not is_trusted_host("api:5000", own_name=EVERYWHERE, any_short_name=False)
    assert is_trusted_host("host.lan:5000", own_name="host.lan", any_short_name=False)


def test_an_owner_of_many_addresses_counts_once():
    assert (
        rate_limit_key("2001:db8::1")
        == rate_limit_key("2001:db8::ffff")
        != rate_limit_key("2001:db8:0:1::1")
    )
    assert rate_limit_key("192.0.2.1") != rate_limit_key("192.0.2.2")
    assert rate_limit_key(None) == rate_limit_key("") == "unknown"


# -- the address it listens on


def settings(**values: object) -> Settings:
    return Settings(_env_file=None, **values)


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.0.2.1"])
def test_without_a_key_no_other_machine_is_served(host: str, tmp_path: Path):
    with pytest.raises(ConfigurationError, match="no API key is set") as caught:
        require_key_if_exposed(settings(api_host=host, local_dir=tmp_path))
    assert "keys new" in caught.value.hint
    assert "API_OPEN" in caught.value.hint


def test_a_key_or_api_open_lets_it_listen_anywhere(tmp_path: Path):
    key = str(entry_for("ann", Role.READER, new_key()))
    require_key_if_exposed(settings(api_host=EVERYWHERE, local_dir=tmp_path, api_keys=key))
    require_key_if_exposed(settings(api_host=EVERYWHERE, local_dir=tmp_path, api_open=True))
    (tmp_path / "api-keys").write_text(key)
    require_key_if_exposed(settings(api_host=EVERYWHERE, local_dir=tmp_path))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_is_always_served(host: str, tmp_path: Path):
    require_key_if_exposed(settings(api_host=host, local_dir=tmp_path))


@pytest.mark.parametrize("rate", ["600", "0/m", "600/y", "x/m", "600/minute"])
def test_a_rate_is_a_number_and_a_unit(rate: str):
    with pytest.raises(ValueError, match="600/m"):
        settings(api_rate_limit=rate)


@pytest.mark.parametrize(
    "origins", ["*", "example.com", "https://a.example/", "https://a.example,"]
)
def test_origins_are_exact(origins: str):
    with pytest.raises(ValueError, match=r"https://app\.example\.com"):
        settings(cors_origins=origins)
