"""The configuration of a run: settings, sections and how they are resolved."""
