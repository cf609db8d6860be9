"""Ensembles: several finished runs joined into one run."""
