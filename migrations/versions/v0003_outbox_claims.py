"""Claims of outbox events: whose, until when, and how often their product has failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from product_search.database.column_types import UtcDateTime

revision = "0003"
down_revision = "0002"

columns = (
    sa.Column("claim_token", sa.String(32)),
    sa.Column("available_at", UtcDateTime),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
)


def upgrade() -> None:
    """Add the columns, but for those that a run that was cut off has added."""
    there = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("outbox_event")}
    for column in columns:
        if column.name not in there:
            op.add_column("outbox_event", column)
