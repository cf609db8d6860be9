"""Built-in networks, one family per file."""
