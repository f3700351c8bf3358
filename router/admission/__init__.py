"""Admission of a table's requests at the router: tokens leased from the cluster's pool."""
