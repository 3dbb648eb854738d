"""Implementations of the encoders, one module each, imported when it is chosen."""
