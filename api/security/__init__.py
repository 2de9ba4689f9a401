"""API keys, roles, rate limits, origins and security headers. May import `http` and `state`."""
