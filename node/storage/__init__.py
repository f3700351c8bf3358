"""Everything a node keeps on disk, and the only importer of lmdb.

`log` and `items` are the two stores, `memtable` and `merge` the images not yet checkpointed,
`identity` says whose directory it is, `layout` owns the bytes.
"""
