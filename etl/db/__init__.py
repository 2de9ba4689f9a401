"""The only access to PostgreSQL. May import `model`, `runtime` and `settings`."""
