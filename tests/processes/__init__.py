"""Real processes: started, killed, paused and restarted through the supervisor of `quorate up`."""
