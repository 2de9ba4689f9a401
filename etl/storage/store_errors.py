"""Errors of the object store's clients, translated to EtlError.

minio, which takes long to import, is imported when there is an error.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from etl.model.errors import ConfigurationError, ObjectStoreUnavailable, UnreadableObject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minio.error import S3Error

_ACCESS_DENIED = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"}


class StoreErrors:
    """The errors of the store at one endpoint."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    @contextmanager
    def translating(
        self, operation: str, bucket: str | None = None, key: str | None = None
    ) -> Iterator[None]:
        """Translate client errors; a denial for `key` concerns only that object."""
        try:
            yield
        except InvalidPathError:
            raise
        except Exception as error:
            translated = self._translated(error, operation, bucket, key)
            if translated is None:
                raise
            raise translated from error

    def _translated(
        self, error: Exception, operation: str, bucket: str | None, key: str | None
    ) -> Exception | None:
        """The error for the caller; None for one that is not the store's."""
        from minio.error import MinioException, S3Error
        from urllib3.exceptions import HTTPError

        if isinstance(error, S3Error):
            return self._rejected(error, operation, bucket, key)
        if isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError):
            return self._denied(operation, key)
        if isinstance(error, NotFoundError | FileNotFoundError):
            return _missing(bucket or "?")
        if isinstance(error, BaseError | MinioException | HTTPError | OSError):
            return self._unavailable(operation, error)
        return None

    def _rejected(
        self, error: S3Error, operation: str, bucket: str | None, key: str | None
    ) -> Exception:
        if error.code == "NoSuchBucket":
            return _missing(bucket or error.bucket_name or "?")
        if error.code in _ACCESS_DENIED:
            return self._denied(operation, key)
        return self._unavailable(operation, error)

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

    def _unavailable(self, operation: str, error: BaseException) -> ObjectStoreUnavailable:
        error = _innermost(error)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return ObjectStoreUnavailable(
            f"Could not {operation} at {self._endpoint}: {reason[:300]}",
            public_message=f"The object store is not available: could not {operation}.",
            operation=operation,
        )


def _innermost(error: BaseException) -> BaseException:
    """The cause of the last failure; its text, unlike MaxRetryError's, contains no URL."""
    from urllib3.exceptions import MaxRetryError

    while isinstance(error, MaxRetryError) and error.reason is not None:
        error = error.reason
    return error


def _missing(bucket: str) -> ConfigurationError:
    return ConfigurationError(
        f"Bucket {bucket!r} does not exist.",
        hint="Create it with `./run.sh migrate`, or correct the *_BUCKET setting that names it.",
    )
