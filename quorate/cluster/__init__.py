"""What nodes and routers both know of a cluster: its catalog, the ring, the placement."""
