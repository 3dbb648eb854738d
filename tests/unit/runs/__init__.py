"""Tests of product_search.runs that need no database."""
