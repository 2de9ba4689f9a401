"""The columns that every table of rows has besides those of its dataset."""

from __future__ import annotations

SOURCE_KEY = "_source_key"
SOURCE_LINE = "_source_line"
EXTRA = "_extra"
