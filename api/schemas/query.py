"""Types and validation that all query strings share; unknown parameters are rejected."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from api.http.converters import MAX_ID

MAX_WAIT_SECONDS = 600
MAX_SHORT_PAGE = 1_000
SHORT_PAGE = 100
ETAG_EXAMPLE = "9bb58f26192e4ba00f01e2e7b136bbd8"


def _whole_number(value: object) -> object:
    # Negative numbers match, so that they get the error of the lower limit.
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,19}", value):
        raise ValueError("must be a whole number")
    return value


def _decimal_number(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(
        r"-?[0-9]{1,9}(\.[0-9]{1,30})?(e[-+]?[0-9]{1,3})?", value
    ):
        raise ValueError("must be a number of seconds")
    return value


def _truth(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return value.lower() == "true"


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    return value


Truth = Annotated[bool, BeforeValidator(_truth)]
ShortPage = Annotated[int, Field(ge=1, le=MAX_SHORT_PAGE), BeforeValidator(_whole_number)]
Id = Annotated[int, Field(ge=0, le=MAX_ID), BeforeValidator(_whole_number)]
Seconds = Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS), BeforeValidator(_decimal_number)]
_STORABLE = Field(min_length=1, json_schema_extra={"pattern": r"^[^\u0000]+$"})
Key = Annotated[str, _STORABLE, AfterValidator(_storable)]
DatasetName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,47}$")]


class Query(BaseModel):
    """Base class of query parameters; rejects unknown parameters."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _reject_unknown_parameters(cls, parameters: dict[str, str]) -> dict[str, str]:
        unknown = parameters.keys() - cls.model_fields.keys()
        if unknown:
            raise ValidationError.from_exception_data(
                cls.__name__, [_unknown(name, sorted(cls.model_fields)) for name in sorted(unknown)]
            )
        return parameters


def _unknown(name: str, known: list[str]) -> InitErrorDetails:
    message = f"is not a parameter of this route; valid parameters: {', '.join(known) or 'none'}"
    return InitErrorDetails(type=PydanticCustomError("unknown", message), loc=(name,), input=name)


class NoQuery(Query):
    """Empty query of a route without parameters."""
