"""The OpenAPI description of the routes. It may import `http`, `schemas` and `security`."""
