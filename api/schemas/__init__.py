"""Schemas of requests and responses: they validate requests and describe both in OpenAPI."""
