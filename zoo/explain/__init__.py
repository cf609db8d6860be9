"""Heat maps: where in an image a network's answer comes from, whether that is where the finding is, and whether to trust it."""
