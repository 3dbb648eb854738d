"""The commands of `manage`, and the worker's door."""
