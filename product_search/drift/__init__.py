"""Do the stores agree, and what puts it right."""
