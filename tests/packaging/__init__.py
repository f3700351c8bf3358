"""What makes the virtual environment and the wheel."""
