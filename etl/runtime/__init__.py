"""What the other packages need from Python and the operating system. May import `model`."""
