"""Sweeps: many trainings of one configuration in which some settings vary, by a grid or by a search."""
