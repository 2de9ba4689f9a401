"""Upload forms are stored completely, or rejected with the reason."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from api import create_app
from api.http import forms
from api.http.forms import MAX_FIELD_BYTES, MAX_HEAD_BYTES, MAX_PARTS
from api.http.object_headers import MAX_CONTENT_TYPE_LENGTH

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from etl.settings import Settings
    from etl.sync.manager import DataManager
    from tests.conftest import TestBucket

CSV = b"first_name,last_name,birthts\nAnn,Lee,0\n"


@pytest.fixture
def client(settings: Settings) -> FlaskClient:
    return create_app(settings).test_client()


@pytest.fixture
def source(settings: Settings) -> str:
    return f"/objects/{settings.source_bucket}"


def part(disposition: str | bytes, content: bytes = b"", *headers: bytes) -> bytes:
    text = disposition.encode() if isinstance(disposition, str) else disposition
    lines = [b"Content-Disposition: form-data; " + text, *headers]
    return b"--XbX\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + content + b"\r\n"


def file(name: str, content: bytes = b"x") -> bytes:
    return part(f'name="file"; filename="{name}"', content)


def field(name: str, content: bytes) -> bytes:
    return part(f'name="{name}"', content)


def send(client: FlaskClient, address: str, body: bytes) -> TestResponse:
    return client.post(address, data=body, content_type="multipart/form-data; boundary=XbX")


def faults_of(response: TestResponse) -> list[tuple[str, str]]:
    assert response.status_code == 422, response.text
    return [(fault["parameter"], fault["message"]) for fault in response.get_json()["errors"]]


def problem_of(response: TestResponse, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    body = response.get_json()
    assert body["hint"]
    return body


END = b"--XbX--\r\n"
NOT_CHOSEN = [("file", "has no file name: no file was chosen")]


def test_a_form_without_a_chosen_file_changes_no_user(
    client: FlaskClient, source: str, bucket: TestBucket, manager: DataManager
):
    """A browser sends this if the form is submitted before a file is chosen."""
    bucket.put("ann1.csv", CSV)
    manager.run("cli")
    body = b"\r\n\r\n" + field("key", b"ann1.csv") + file("", b"") + END
    assert faults_of(send(client, source, body)) == NOT_CHOSEN
    assert bucket.get("ann1.csv") == CSV
    manager.run("cli")
    assert client.get("/data/ann1").status_code == 200


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        (file("", b"content"), NOT_CHOSEN),
        (file("") + file(""), NOT_CHOSEN * 2),
        (file("a") + file(""), NOT_CHOSEN),
        (field("prefix", b"in/") + file("a/"), NOT_CHOSEN),
        (field("file", b"content"), [("file", "is not a file: it has no file name")]),
        (
            file("a") + field("file", b"content"),
            [("file", "is not a file: it has no file name")],
        ),
        (field("key", b"") + file("a"), [("key", "is empty")]),
        (field("key", b" ") + file("a"), [("key", "is blank")]),
        (field("key", b"a") + field("key", b"b") + file("c"), [("key", "is given more than once")]),
        (field("prefix", b"Ren\xe9/") + file("c"), [("prefix", "is not UTF-8")]),
        (field("key", b"Ren\xe9.csv") + file("c"), [("key", "is not UTF-8")]),
        (
            part("name=\"file\"; filename*=UTF-8''Ren%E9.csv", b"x"),
            [("file", "has a file name that is not UTF-8")],
        ),
        (
            field("key", b"k" * (MAX_FIELD_BYTES + 1)) + file("a"),
            [("key", f"is longer than {MAX_FIELD_BYTES:,} bytes")],
        ),
        (
            field("name", b"x") + file("a"),
            [("name", "is not a field of this form; its fields are file, key, prefix")],
        ),
        (
            file("a") + part('name="picture"; filename="b"', b"x"),
            [("picture", "is not a field of this form; its fields are file, key, prefix")],
        ),
        (
            part('name="key"; filename="b"', b"x") + file("a"),
            [("key", "must be text, not a file")],
        ),
        (
            part('name="file"; filename="a"', b"x", b"Content-Type: text/" + b"x" * 251),
            [("Content-Type", f"is longer than {MAX_CONTENT_TYPE_LENGTH} bytes")],
        ),
        (b"", [("file", "is missing: send at least one file")]),
    ],
)
def test_a_form_that_cannot_be_meant_is_refused(
    client: FlaskClient,
    source: str,
    bucket: TestBucket,
    body: bytes,
    faults: list[tuple[str, str]],
):
    bucket.put("a", "old")
    assert faults_of(send(client, source, body + END)) == faults
    assert (bucket.keys(), bucket.get("a")) == (["a"], b"old")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (file("a"), "it ends before the closing boundary"),
        (file("a") + b"--XbX\r\n", "it ends before the closing boundary"),
        (file("a") + b"--XbX\r\nContent-Disposition: form-", "it ends before the closing boundary"),
        ((file("a") + file("b") + END)[:-4], "it ends before the closing boundary"),
        (b"nothing of a form", "it ends before the closing boundary"),
        (
            part(b'name="file"; filename="Ren\xe9.csv"', b"x") + END,
            "the headers of a part are not UTF-8",
        ),
        (part('filename="a"', b"x") + END, "a part has no name"),
        (b"--XbX\r\nContent-Type: text/plain\r\n\r\nx\r\n" + END, "Content-Disposition"),
    ],
)
def test_truncated_or_garbled_form_stores_nothing(
    client: FlaskClient, source: str, bucket: TestBucket, body: bytes, reason: str
):
    answer = problem_of(send(client, source, body), 400)
    assert answer["type"].endswith("invalid-form")
    assert reason in answer["detail"]
    assert bucket.keys() == []


@pytest.mark.parametrize(
    ("content_type", "reason"),
    [
        ("multipart/form-data", "has no boundary"),
        (f"multipart/form-data; boundary={'X' * 71}", "1 to 70 ASCII characters"),
        ('multipart/form-data; boundary="é"', "1 to 70 ASCII characters"),
    ],
)
def test_form_with_an_invalid_boundary_is_rejected(
    client: FlaskClient, source: str, content_type: str, reason: str
):
    answer = client.post(source, data=file("a") + END, content_type=content_type)
    assert reason in problem_of(answer, 400)["detail"]


def test_form_with_too_many_parts_is_rejected_with_the_limit(
    client: FlaskClient, source: str, bucket: TestBucket
):
    body = b"".join(file(f"{number}") for number in range(MAX_PARTS + 1)) + END
    answer = problem_of(send(client, source, body), 413)
    assert answer["type"].endswith("form-too-large")
    assert "more than 1,000 parts" in answer["detail"]
    long = part('name="file"; filename="a"', b"x", b"X-Long: " + b"x" * 3 * MAX_HEAD_BYTES)
    assert "65,536 bytes" in problem_of(send(client, source, long + END), 413)["detail"]
    assert bucket.keys() == []


def test_as_many_files_as_are_allowed_are_stored(
    client: FlaskClient, source: str, bucket: TestBucket
):
    """Some of the files exceed a form's memory limit."""
    contents = {f"{n:04}": (b"%d" % n) * (1 if n % 400 else 100_000) for n in range(MAX_PARTS)}
    body = b"".join(file(name, content) for name, content in contents.items())
    answer = send(client, source, body + END)
    assert answer.status_code == 201, answer.text
    assert bucket.keys() == sorted(contents)
    for name in ("0000", "0001", "0400", "0800", "0999"):
        assert bucket.get(name) == contents[name]


def test_a_put_with_a_long_content_type_names_the_limit(client: FlaskClient, source: str):
    long = "text/" + "x" * (MAX_CONTENT_TYPE_LENGTH - 4)
    answer = client.put(f"{source}/a", data=b"x", content_type=long)
    assert faults_of(answer) == [("Content-Type", "is longer than 255 bytes")]
    assert client.put(f"{source}/a", data=b"x", content_type=long[:-1]).status_code == 200
    assert client.head(f"{source}/a").headers["Content-Type"] == long[:-1]


# -- for any form


CONTENTS = st.lists(st.binary(max_size=3000) | st.binary(max_size=50).map(lambda b: b * 3000))


@hypothesis_settings(max_examples=60)
@given(contents=CONTENTS, fields=st.dictionaries(st.sampled_from("abc"), st.text()))
def test_form_fields_round_trip(contents: list[bytes], fields: dict[str, str]):
    data: dict[str, Any] = dict(fields)
    data["file"] = [(io.BytesIO(content), f"{n}") for n, content in enumerate(contents)]
    request = Request(
        EnvironBuilder(method="POST", data=data, content_type=forms.MIMETYPE).get_environ()
    )
    with forms.reading(request) as form:
        assert form.fields == fields
        assert [file.size for file in form.files] == [len(content) for content in contents]
        for file, content in reversed(list(zip(form.files, contents, strict=True))):
            assert file.content.read(7) == content[:7]
            file.content.seek(0)
            assert file.content.read() == content


@hypothesis_settings(max_examples=60)
@given(contents=CONTENTS.filter(bool), cut=st.integers(min_value=1, max_value=200))
def test_form_without_its_end_is_never_accepted(contents: list[bytes], cut: int):
    whole = b"".join(file("a", content) for content in contents) + b"--XbX--"
    builder = EnvironBuilder(
        method="POST",
        input_stream=io.BytesIO(whole[:-cut]),
        content_length=len(whole) - min(cut, len(whole)),
        content_type="multipart/form-data; boundary=XbX",
    )
    with (
        pytest.raises(forms.Refused, match="not a valid multipart"),
        forms.reading(Request(builder.get_environ())),
    ):
        pass


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Transfer-Encoding: base64",
        b"content-transfer-encoding: Quoted-Printable",
        b"Content-Encoding: gzip",
    ],
)
def test_an_encoded_part_stores_nothing(
    client: FlaskClient, source: str, bucket: TestBucket, header: bytes
):
    """Stored as sent, it would replace the user's file with encoded bytes and retire the user."""
    bucket.put("a.csv", CSV)
    answer = send(client, source, part('name="file"; filename="a.csv"', b"eA==", header) + END)
    assert answer.status_code == 400, answer.text
    assert "encoded" in answer.get_json()["detail"]
    assert bucket.get("a.csv") == CSV


@pytest.mark.parametrize("coding", [b"7bit", b"8bit", b"BINARY "])
def test_part_declared_as_unencoded_is_stored(
    client: FlaskClient, source: str, bucket: TestBucket, coding: bytes
):
    header = b"Content-Transfer-Encoding: " + coding
    body = part('name="file"; filename="a.csv"', CSV, header) + END
    assert send(client, source, body).status_code == 201
    assert bucket.get("a.csv") == CSV
