"""Whether a dataset is fit to be split: patients films on two sides, near-duplicates, contradictions; a table without them."""
