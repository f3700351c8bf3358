"""What a node tells Prometheus. docs/METRICS.md says what each metric means."""
