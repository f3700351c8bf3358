"""What a bug report needs from a cluster, in one file: as much as there is, within bounds.

No items, no secrets and no access keys go in; tables, users and hosts are named.
"""
