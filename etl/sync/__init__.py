"""One run: list, diff, read, stage, merge, publish.

May import `model`, `runtime`, `settings`, `read`, `storage` and `db`.
"""
