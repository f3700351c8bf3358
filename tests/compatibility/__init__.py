"""What an earlier release has written is read by this one; `python -m tests.compatibility` made it.

`format_1/` was written by the first release of the formats in docs/FORMAT.md and proto/:

- `cluster.tar.xz`: the data directory of a cluster of three nodes that wrote, updated, deleted and
  dropped things, one node stopped politely and two killed;
- `contents.json`: what a client finds in it;
- `messages.json`: one message of each kind, every field set: its bytes, and what they mean;
- `protos.binpb`: the definitions themselves, as a FileDescriptorSet.

They are made once and kept: a new release gets a new folder beside the old one. A test that fails
here means that two adjacent releases could not run side by side.
"""
