"""The tables' history: one file a version, each applied in one transaction with its record."""
