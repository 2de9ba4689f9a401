"""Errors of the object store's clients, translated to EtlError."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import urllib3
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from etl.model.errors import ConfigurationError, ObjectStoreUnavailable, UnreadableObject
from etl.runtime.measures import Timings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_ACCESS_DENIED = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"}


class StoreErrors:
    """The errors of the store at one endpoint; `own_buckets` are those of the settings.

    `encryption` is S3_SSE, if it is set.
    """

    def __init__(
        self, endpoint: str, own_buckets: Collection[str] = (), encryption: str | None = None
    ) -> None:
        self._endpoint = endpoint
        self._own_buckets = own_buckets
        self._encryption = encryption
        self.timings = Timings()

    @contextmanager
    def translating(
        self, operation: str, bucket: str | None = None, key: str | None = None
    ) -> Iterator[None]:
        """Translate client errors; a denial for `key` concerns only that object.

        The time of the block is counted for the first word of the operation.
        """
        started, is_unavailable = time.perf_counter(), False
        try:
            yield
        except S3Error as error:
            translated = self._translated(error, operation, bucket, key)
            is_unavailable = isinstance(translated, ObjectStoreUnavailable)
            raise translated from error
        except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
            raise self._denied(operation, key) from error
        except InvalidPathError:
            raise
        except (NotFoundError, FileNotFoundError) as error:
            raise self._missing(bucket or "?") from error
        except (
            BaseError,
            ServerError,
            InvalidResponseError,
            MinioException,
            urllib3.exceptions.HTTPError,
            OSError,
        ) as error:
            is_unavailable = True
            raise self._unavailable(operation, error) from error
        finally:
            verb = operation.partition(" ")[0]
            self.timings.add(time.perf_counter() - started, (verb,), is_error=is_unavailable)

    def _translated(
        self, error: S3Error, operation: str, bucket: str | None, key: str | None
    ) -> Exception:
        if error.code == "NoSuchBucket":
            return self._missing(bucket or error.bucket_name or "?")
        if error.code in _ACCESS_DENIED:
            return self._denied(operation, key)
        if self._encryption and operation.startswith("put ") and _is_of_encryption(error):
            return self._not_encrypted(operation, error)
        return self._unavailable(operation, error)

    def _not_encrypted(self, operation: str, error: S3Error) -> ConfigurationError:
        return ConfigurationError(
            f"The object store rejects S3_SSE={self._encryption}: could not {operation}:"
            f" {error.code}.",
            hint="Correct S3_SSE and S3_SSE_KMS_KEY_ID, or leave them empty. `./run.sh doctor"
            " --store` tries whether the store encrypts.",
            public_message=f"The object store does not encrypt: could not {operation}.",
        )

    def _denied(self, operation: str, key: str | None) -> Exception:
        if key is not None:
            return UnreadableObject(
                f"The object store denied access: could not {operation}.", key=key
            )
        return ConfigurationError(
            f"The object store at {self._endpoint} denied access: could not {operation}.",
            hint="Check S3_ACCESS_KEY, S3_SECRET_KEY and the permissions of that user.",
            public_message=f"The object store denied access: could not {operation}.",
        )

    def _missing(self, bucket: str) -> ConfigurationError:
        return ConfigurationError(
            f"Bucket {bucket!r} does not exist.", hint=bucket_remedy(bucket, self._own_buckets)
        )

    def _unavailable(self, operation: str, error: BaseException) -> ObjectStoreUnavailable:
        error = _innermost(error)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return ObjectStoreUnavailable(
            f"Could not {operation} at {self._endpoint}: {reason[:300]}",
            public_message=f"The object store is not available: could not {operation}.",
            operation=operation,
        )


def _is_of_encryption(error: S3Error) -> bool:
    """Whether the store rejects the headers of encryption; vendors have their own codes."""
    code = error.code or ""
    return code == "NotImplemented" or "KMS" in code or "Encryption" in code


def _innermost(error: BaseException) -> BaseException:
    """The cause of the last failure; its text, unlike MaxRetryError's, contains no URL."""
    while isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        error = error.reason
    return error


def bucket_remedy(bucket: str, own_buckets: Collection[str]) -> str:
    """What to do about a missing bucket: one of the settings, or one that a dataset names."""
    if bucket in own_buckets:
        return "Create it with `./run.sh migrate`, or correct the *_BUCKET setting that names it."
    return "Create it in the object store, or correct `bucket` in the datasets file."
