"""The search page: the query and the results."""
