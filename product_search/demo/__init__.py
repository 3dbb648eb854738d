"""The demo's pages, which know the service by its HTTP API alone."""
