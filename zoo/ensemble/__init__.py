"""Ensembles: finished runs joined into one network, which is a run like any other."""
