"""Benches: each starts a local cluster of its own, measures, prints a table and keeps JSON."""
