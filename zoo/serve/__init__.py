"""A run behind a page and a REST interface."""
