"""Pending index work: events, counts, admission, and the way over Kafka."""
