"""What the encoders are made of, one file an implementation."""
