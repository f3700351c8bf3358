"""What a bug report gets, and what it must not get."""
