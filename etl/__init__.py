"""Bucketline's pipeline: the core, its edges, and their composition in `manager`."""
