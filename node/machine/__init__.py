"""State machines: what committed entries do, and what a leader evaluates before them."""
