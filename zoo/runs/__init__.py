"""Runs at rest: the folder one training left behind, its results, and several runs side by side."""
