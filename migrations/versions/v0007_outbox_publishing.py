"""Outbox events know when the relay publishes them to Kafka."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from product_search.database.column_types import UtcDateTime

revision = "0007"
down_revision = "0006"

column = sa.Column("publish_after", UtcDateTime)
index = "ix_outbox_event_publish_after"


def upgrade() -> None:
    """Add the column and its index, but for what a run that was cut off has added."""
    there = sa.inspect(op.get_bind())
    if column.name not in {known["name"] for known in there.get_columns("outbox_event")}:
        op.add_column("outbox_event", column)
    if index not in {known["name"] for known in there.get_indexes("outbox_event")}:
        op.create_index(index, "outbox_event", ["publish_after"])
