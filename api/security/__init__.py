"""Keys, roles, rate limits, origins and protective headers. May import `http` and `state`."""
