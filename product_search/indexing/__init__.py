"""Rows into live collections, and from one collection to the next."""
