"""Acceptance: the clients that people have, unchanged, each installed and driven by a story."""
