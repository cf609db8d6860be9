"""Heat maps: which parts of an image a prediction depends on, scored against boxes and by a sanity check."""
