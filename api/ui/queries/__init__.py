"""What pages read: one module per noun. A function gets a connection and returns values."""
