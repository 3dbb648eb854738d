"""The log of changes: who has changed what and when, written in the transaction of the change."""
