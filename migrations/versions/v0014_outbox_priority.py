"""What people have written is indexed before what imports and rebuilds have recorded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

column = sa.Column("priority", sa.SmallInteger, nullable=False, server_default="1")
index = "ix_outbox_event_priority"


def upgrade() -> None:
    """Add the column and its index, but for what a run that was cut off has added.

    Nobody knows who wrote the events that wait: an import's are most of them, if any are many.
    """
    there = sa.inspect(op.get_bind())
    if column.name not in {known["name"] for known in there.get_columns("outbox_event")}:
        op.add_column("outbox_event", column)
    if index not in {known["name"] for known in there.get_indexes("outbox_event")}:
        op.create_index(index, "outbox_event", ["priority", "id"])
