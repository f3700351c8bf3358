"""HTTP/1.1 with limits of its own, and the admin face: what routers and nodes share."""
