"""Images: decoding and storing them, their marks and hashes."""
