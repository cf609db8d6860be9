"""Audits of datasets: leaks, copies, faults."""
