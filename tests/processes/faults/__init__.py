"""Real disks and real processes: killed at a sync, cut off from power, lied to, full, failing."""
