"""Values, errors, roles and key rules. Does no I/O and imports nothing else of Bucketline."""
