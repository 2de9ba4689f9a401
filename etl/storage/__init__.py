"""Access to the object store. May import `model`, `runtime` and `settings`."""
