"""One file per version, each applied in one transaction with its record."""
