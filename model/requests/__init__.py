"""Requests: `parse_` checks all that needs no table, `bind` checks the keys and says what to send.

One file a family: writes, reads, ranges (Query and Scan; `pages` collects their rows), batches,
tables.
"""
