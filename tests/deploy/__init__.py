"""What is in deploy/: read as text by every `make check`, run in containers by `verify.py`."""
