"""The only place where things are assembled and closed."""
