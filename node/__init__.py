"""The storage process: hosts replicas of partitions, and a replica of the catalog."""
