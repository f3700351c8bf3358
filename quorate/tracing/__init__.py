"""Traces with OpenTelemetry, if the extra is installed and the environment says where they go."""
