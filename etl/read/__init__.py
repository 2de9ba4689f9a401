"""Turn bytes into typed rows and problems. Does no I/O; may import `model`."""
