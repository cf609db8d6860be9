"""Export: a run as one file that works without zoo."""
