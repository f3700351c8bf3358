"""Requests: `parse_` checks all that needs no table, `bind` checks the keys and says what to send.

One file a family: writes, reads (`pages` collects the rows of Query and Scan), batches, tables,
account; what they share is in parameters, placeholders, legacy.
"""
