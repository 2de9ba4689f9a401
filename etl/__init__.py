"""Bucketline's pipeline: the core, its edges, and their composition in `manager`."""

__version__ = "0.1.0"
