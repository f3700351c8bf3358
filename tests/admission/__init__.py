"""Admission: buckets, leases, the pool, and whole fleets of routers in simulated time."""
