"""Snapshots between nodes: a replica's state and items, in frames that can be gone on with.

The sender reads from one consistent view of its tree while writes go on; the receiver gathers
into a file, checks every frame, and offers the whole to its core. Reading and writing happen beside
the loop, a frame at a time; few transfers go on at once, each as long as it makes progress.
"""
