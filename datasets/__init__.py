"""Readers of published layouts, one file each."""
