"""The log of changes, and in which request an outbox event was written."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from product_search.database.column_types import CountedId, ExactString, UtcDateTime

revision = "0016"
down_revision = "0015"

metadata = sa.MetaData()
sa.Table(
    "change_record",
    metadata,
    sa.Column("id", CountedId, primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("operation", sa.String(32), nullable=False),
    sa.Column("principal", ExactString(100), nullable=False),
    sa.Column("key_id", sa.String(32)),
    sa.Column("request_id", sa.String(64)),
    sa.Column("subject_kind", sa.String(16), nullable=False),
    sa.Column("subject_id", ExactString(100)),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
    sa.Index("ix_change_record_subject", "subject_kind", "subject_id", "id"),
    sa.Index("ix_change_record_operation", "operation", "id"),
    sa.Index("ix_change_record_at", "at"),
    sqlite_autoincrement=True,
    mysql_charset="utf8mb4",
)
column = sa.Column("request_id", sa.String(64))


def upgrade() -> None:
    """Make what is missing: a run that was cut off may have left some of it."""
    bind = op.get_bind()
    metadata.create_all(bind)
    for table in metadata.tables.values():
        for index in table.indexes:
            index.create(bind, checkfirst=True)
    there = sa.inspect(bind).get_columns("outbox_event")
    if column.name not in {known["name"] for known in there}:
        op.add_column("outbox_event", column)
