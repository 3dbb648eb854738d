"""Who may do what: keys, the scope of each operation, signed addresses of pictures."""
