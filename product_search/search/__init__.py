"""Search: from a query to a page of hits; also match, rerank, similar products, titles."""
