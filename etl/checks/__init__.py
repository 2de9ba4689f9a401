"""What a run would say of a local file. It may import `read`, `runtime` and `settings`."""
