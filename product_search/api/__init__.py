"""The HTTP API: what its routes share, and in `routes` the routes."""
