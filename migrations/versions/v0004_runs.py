"""Runs: imports, reindexings and doctor's walks, which outlive a restart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from product_search.database.column_types import CountedId, ExactString, UtcDateTime

revision = "0004"
down_revision = "0003"

metadata = sa.MetaData()
sa.Table(
    "run",
    metadata,
    sa.Column("id", CountedId, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("options", sa.JSON, nullable=False),
    sa.Column("progress", sa.JSON, nullable=False),
    sa.Column("error", sa.String(500)),
    sa.Column("claim_token", sa.String(32)),
    sa.Column("lease_until", UtcDateTime),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("started_at", UtcDateTime),
    sa.Column("finished_at", UtcDateTime),
    sa.Index("ix_run_kind_state", "kind", "state"),
    sqlite_autoincrement=True,
    mysql_charset="utf8mb4",
)
sa.Table(
    "run_problem",
    metadata,
    sa.Column("id", CountedId, primary_key=True),
    sa.Column("run_id", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("subject", ExactString(100), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index("ix_run_problem_run", "run_id", "id"),
    sqlite_autoincrement=True,
    mysql_charset="utf8mb4",
)


def upgrade() -> None:
    """Make what is missing."""
    bind = op.get_bind()
    metadata.create_all(bind)
    for table in metadata.tables.values():
        for index in table.indexes:
            index.create(bind, checkfirst=True)
