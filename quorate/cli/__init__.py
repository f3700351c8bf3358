"""The `quorate` command: one file for each family of subcommands.

Imports of gRPC, LMDB and the processes are inside the commands that need them, so that
`quorate --help` and the supervisor stay quick and small.
"""
