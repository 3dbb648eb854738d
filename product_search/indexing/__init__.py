"""Indexing: products into the live collections, and from one collection to the next."""
