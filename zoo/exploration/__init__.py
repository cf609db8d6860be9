"""A first look at a dataset: labels, people, pixels, what is missing; as figures, tables and one page."""
