"""Decoding in processes of its own, which can be ended and whose memory comes back."""
