"""Settings: the only reader of the environment, read once, passed on as a value."""

from etl.settings.model import Settings
from etl.settings.reading import EMBEDDED_MARK, embedded_mark, read_settings

__all__ = ["EMBEDDED_MARK", "Settings", "embedded_mark", "read_settings"]
