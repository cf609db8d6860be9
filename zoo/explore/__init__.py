"""Datasets described: findings, people, pixels and how they hang together."""
