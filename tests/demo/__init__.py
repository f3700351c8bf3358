"""The demo's parts that need no cluster: its records, its probe's arithmetic, its HTTP."""
