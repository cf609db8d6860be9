"""Whether a dataset is fit to be split: patients and films on two sides, near-duplicates, contradictions; and a table without them."""
