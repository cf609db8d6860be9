"""Sweeps: many trainings of one configuration with some settings varied, as a grid or a search."""
