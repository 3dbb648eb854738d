"""Durable background work: the queue of runs, what carries them out, background threads."""
