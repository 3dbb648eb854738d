"""Offline making of the weights that ship with the project; serving never imports it."""
