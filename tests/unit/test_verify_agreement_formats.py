"""Both readers get the same result from any file of any format, dataset and compression."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import UnknownColumns
from tests.any_files import datasets, json_files, ndjson_files
from tests.dataset_outcomes import expected_of, found_of

FILES = {"ndjson": ndjson_files, "json": json_files}


@pytest.mark.parametrize("extension", FILES)
@given(st.data())
def test_readers_agree_on_any_file_of_any_dataset(extension: str, data: st.DataObject):
    dataset = data.draw(datasets())
    content = data.draw(FILES[extension](dataset))
    key = data.draw(st.sampled_from(["in/Ulm/a", "in/7/a", "a"])) + f".{extension}"
    added: tuple[str, ...] = ()
    if dataset.unknown_columns is UnknownColumns.ADD:
        added = data.draw(st.sampled_from([(), ("city",), tuple(f"c{n}" for n in range(200))]))
    assert found_of(dataset, key, content, added) == expected_of(dataset, key, content, added)
