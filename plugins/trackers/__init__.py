"""Built-in trackers: other places that are told how a training goes."""
