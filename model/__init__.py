"""The pure DynamoDB data model: values, keys, sizes, expressions, limits, errors, requests.

Knows no cluster, and does no I/O: bytes and JSON go in, bytes and typed errors come out.
"""
