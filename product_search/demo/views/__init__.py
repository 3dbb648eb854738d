"""What the pages show, a module each."""
