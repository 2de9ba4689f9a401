"""The accessibility checks of others that the tests use are what their record says."""

from __future__ import annotations

import hashlib
import json

from tests.browsers import VENDOR


def test_vendored_checks_have_a_version_a_licence_and_their_hash():
    named = {"vendored.json"}
    for package in json.loads((VENDOR / "vendored.json").read_text("utf-8")):
        assert package["licence"]
        named |= {*package["licence_files"], *package["sha256"]}
        for name, digest in package["sha256"].items():
            content = (VENDOR / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == digest, name
            assert f"v{package['version']}".encode() in content[:200], name
    assert named == {path.name for path in VENDOR.iterdir()}
