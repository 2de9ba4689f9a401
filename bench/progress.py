"""Progress of the benchmark, on standard error."""

from __future__ import annotations

import time

import click

_started = time.monotonic()


def say(words: str) -> None:
    """Print one line, prefixed with the time since the start."""
    minutes, seconds = divmod(int(time.monotonic() - _started), 60)
    click.echo(f"{minutes:4}:{seconds:02}  {words}", err=True)
