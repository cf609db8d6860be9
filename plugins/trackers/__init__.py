"""Built-in trackers: they report a training to another place."""
