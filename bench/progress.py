"""What the benchmark is doing right now, on standard error, for whoever waits for it."""

from __future__ import annotations

import time

import click

_started = time.monotonic()


def say(words: str) -> None:
    """One line, behind the minutes and seconds since the start."""
    minutes, seconds = divmod(int(time.monotonic() - _started), 60)
    click.echo(f"{minutes:4}:{seconds:02}  {words}", err=True)
