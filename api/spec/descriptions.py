"""The texts of /openapi.json: generated once, and again when the declarations change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from api.spec.dataset_paths import with_datasets
from etl.db.engine import schemas_of

if TYPE_CHECKING:
    from apiflask import APIFlask
    from sqlalchemy import Engine

    from api.state.catalog import Installed

_KEY = "bucketline-descriptions"
_MOST_TEXTS = 32  # of callers with different datasets


class Descriptions:
    """The descriptions of one app, each for some datasets."""

    def __init__(self, app: APIFlask, engine: Engine) -> None:
        self._app = app
        self._schema = schemas_of(engine).data
        self._spec: dict[str, Any] | None = None
        self._texts: dict[tuple[Installed, ...], str] = {}

    def text(self, datasets: tuple[Installed, ...]) -> str:
        """The JSON with the columns of these datasets."""
        found = self._texts.get(datasets)
        if found is None:
            if self._spec is None:
                self._spec = cast("dict[str, Any]", self._app.spec)
            described = with_datasets(self._spec, datasets, self._schema)
            found = json.dumps(described, ensure_ascii=False) + "\n"
            if len(self._texts) >= _MOST_TEXTS:
                self._texts.clear()
            self._texts[datasets] = found
        return found


def register(app: APIFlask, engine: Engine) -> None:
    """Store the descriptions in an app."""
    app.extensions[_KEY] = Descriptions(app, engine)


def descriptions_of(app: APIFlask) -> Descriptions:
    """The descriptions of an app."""
    return cast("Descriptions", app.extensions[_KEY])
