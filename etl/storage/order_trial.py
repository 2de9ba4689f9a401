"""Try whether a store lists keys in byte order, with objects of our own that are removed again."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING
from uuid import uuid4

from etl.model.errors import EtlError
from etl.model.keys import OWN_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from minio import Minio

_NAMES = ("a-", "a/b")  # a store may list a folder in the place of its name, which is less


def lists_in_byte_order(
    client: Minio, translating: Callable[[str, str], AbstractContextManager[None]], bucket: str
) -> bool:
    """Whether it does, as far as folders matter; False if no object can be put into the bucket."""
    folder = f"{OWN_FOLDER}/order-{uuid4().hex}/"  # other processes may try at the same time
    keys = [f"{folder}{name}" for name in _NAMES]
    try:
        with translating("try the order of a listing", bucket):
            if not client.bucket_exists(bucket):  # some stores would create it
                return False
            try:
                for key in keys:
                    client.put_object(bucket, key, io.BytesIO(b"x"), 1)
                found = client.list_objects(bucket, prefix=folder, recursive=True)
                return [one.object_name for one in found] == keys
            finally:
                for key in keys:
                    client.remove_object(bucket, key)
    except EtlError:
        return False
