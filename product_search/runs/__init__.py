"""Durable background work: its queue, who carries it out, leases."""
