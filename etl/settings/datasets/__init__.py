"""Parses datasets.toml and reports every fault in it; imports `model`."""
