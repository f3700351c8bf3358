"""The consensus core: Raft as a pure state machine.

Messages, ticks and proposals go in; `Ready` comes out. There is no clock, no disk, no network, no
randomness of its own and no logging here. Start reading at `raft.core`.
"""
