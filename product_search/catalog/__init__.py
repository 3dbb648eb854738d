"""Products: create, change, list, delete."""
