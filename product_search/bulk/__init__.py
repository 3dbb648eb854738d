"""Whole files of products in and out."""
