"""Try the order of a store's listings, with objects of our own that are removed again."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING
from uuid import uuid4

from etl.model.errors import EtlError
from etl.model.keys import OWN_FOLDER
from etl.runtime.pools import map_in_threads
from etl.storage.order import ListingOrder

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from minio import Minio

_NAMES = {  # of objects, as the store may list them
    ListingOrder.BYTES: ["a-", "a/b", "a/d", "a0"],
    ListingOrder.FOLDERS: ["a/b", "a/d", "a-", "a0"],
}
_BETWEEN, _NEXT = "a/c", "a/d"  # a key that does not exist, and the one after it


def order_of(
    client: Minio, translating: Callable[[str, str], AbstractContextManager[None]], bucket: str
) -> ListingOrder | None:
    """The order, as far as folders matter; None if it is another, or nothing can be put there.

    A listing from a key that does not exist is tried, too.
    """
    folder = f"{OWN_FOLDER}/order-{uuid4().hex}/"  # other processes may try at the same time
    names = _NAMES[ListingOrder.BYTES]

    def put(name: str) -> None:
        client.put_object(bucket, folder + name, io.BytesIO(b"x"), 1)

    def remove(name: str) -> None:
        client.remove_object(bucket, folder + name)

    def listed(after: str) -> list[str]:
        found = client.list_objects(bucket, folder, recursive=True, start_after=folder + after)
        return [(one.object_name or "").removeprefix(folder) for one in found]

    try:
        with translating("try the order of a listing", bucket):
            if not client.bucket_exists(bucket):  # some stores would create it
                return None
            try:
                map_in_threads(put, names, len(names))
                found = listed("")
                order = next((one for one, order in _NAMES.items() if order == found), None)
                following = found[found.index(_NEXT) :] if order else []
                return order if order and listed(_BETWEEN) == following else None
            finally:
                map_in_threads(remove, names, len(names))
    except EtlError:
        return None
