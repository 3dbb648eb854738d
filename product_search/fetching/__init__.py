"""Pictures fetched by URL, from public addresses alone: docs/decisions/0038-pictures-by-url.md."""
