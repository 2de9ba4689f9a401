"""The commands and what they print. May import every package; nothing imports `cli`."""
