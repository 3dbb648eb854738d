"""HTTP: bodies, errors, uploads, metrics."""
