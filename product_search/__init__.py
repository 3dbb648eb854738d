"""What the rooms do together: use cases, settings and the command line of the product search."""
