"""The order of uploads; uploading itself is tested on a real store."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from etl.model.keys import user_id_of
from etl.storage.folder import File
from etl.storage.seed import sample_files, upload_order

stems = st.sampled_from(["1000", "1001", "é", "e\u0301"])
folders = st.sampled_from(["", "a/", "b/", "a/b/"])
extensions = st.sampled_from([".csv", ".png", ".JPG", ""])
some_keys = st.sets(st.builds(lambda *parts: "".join(parts), folders, stems, extensions))


@given(some_keys)
def test_smallest_key_of_each_user_is_uploaded_last(keys: set[str]):
    groups = upload_order(File(key, Path(key), key) for key in keys)
    assert sorted(file.key for group in groups for file in group) == sorted(keys)
    users = defaultdict(set)
    for number, group in enumerate(groups):
        ordered = [file.key for file in group]
        assert ordered == sorted(ordered, key=str.encode, reverse=True)
        for key in ordered:
            users[user_id_of(key)].add(number)
    assert all(len(numbers) == 1 for numbers in users.values())


def test_sample_has_doubles_whose_winner_depends_on_the_order():
    doubles = [group for group in upload_order(sample_files()) if len(group) > 1]
    keys = [[file.key for file in group if file.key.endswith(".csv")] for group in doubles]
    assert ["archive/1005.csv", "1005.csv"] in keys
