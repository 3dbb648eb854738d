"""What the API takes and gives, a module each domain."""
