"""A whole cluster on one machine, in the foreground: what `quorate up` runs.

`topology` says which processes there are and remembers it, `ports` finds where they can listen,
`supervisor` starts, watches and stops them, `control` lets other commands reach the supervisor.
This is for development and tests: in production a process manager starts `quorate node` and
`quorate router`.
"""
