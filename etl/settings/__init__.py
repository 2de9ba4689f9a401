"""What the operator configures, read once and passed as a value; imports `model`, `runtime`."""

from etl.settings.model import Settings
from etl.settings.reading import EMBEDDED_MARK, embedded_mark, read_settings

__all__ = ["EMBEDDED_MARK", "Settings", "embedded_mark", "read_settings"]
