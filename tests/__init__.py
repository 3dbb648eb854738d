"""Tests: each folder proves behaviour at another distance from the code (README.md, "Tests")."""
