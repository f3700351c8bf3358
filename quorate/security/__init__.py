"""What routers and clients must agree on about keys: how requests are signed, secrets sealed."""
