"""The OpenAPI description of the routes. May import `http`, `schemas` and `security`."""
