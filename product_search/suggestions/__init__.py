"""Suggestions while a person types: from the catalog's words and from popular queries."""
