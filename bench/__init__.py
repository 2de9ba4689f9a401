"""The benchmark: every result compared with a baseline measured in the same run."""
