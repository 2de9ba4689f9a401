"""Try whether a store lists keys in byte order, with objects of our own that are removed again."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING
from uuid import uuid4

from etl.model.errors import EtlError
from etl.storage.conditional import OWN_PREFIX

if TYPE_CHECKING:
    from etl.storage.client import ObjectStore

_NAMES = ("a-", "a/b")  # a store may list a folder in the place of its name, which is less


def lists_in_byte_order(store: ObjectStore, bucket: str) -> bool:
    """Whether it does, as far as folders matter; False if no object can be put into the bucket."""
    folder = f"{OWN_PREFIX}order-{uuid4().hex}/"  # other processes may try at the same time
    keys = [f"{folder}{name}" for name in _NAMES]
    try:
        if not store.has_bucket(bucket):  # some stores would create it
            return False
        with store.translating("try the order of a listing", bucket):
            try:
                for key in keys:
                    store.client.put_object(bucket, key, io.BytesIO(b"x"), 1)
                found = store.client.list_objects(bucket, prefix=folder, recursive=True)
                return [one.object_name for one in found] == keys
            finally:
                for key in keys:
                    store.client.remove_object(bucket, key)
    except EtlError:
        return False
