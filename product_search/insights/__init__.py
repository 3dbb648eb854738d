"""The catalog as a whole: duplicates, audit, map."""
