"""A whole cluster under one seed: real hosts and routers, simulated network, disks and clocks."""
