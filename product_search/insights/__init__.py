"""The catalogue as a whole: duplicates, audit, map."""
