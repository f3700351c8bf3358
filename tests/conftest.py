"""What every test shares: reproducible property tests."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# The same examples in every run of CI; `HYPOTHESIS_PROFILE=fresh` looks for new ones.
settings.register_profile(
    "fixed", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fresh", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
