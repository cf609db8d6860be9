"""The built-in strategies, registered through the same entry points as anyone else's package."""
