"""Popular queries: how often a query that found products was asked on a day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from product_search.database.column_types import CountedId, ExactString

revision = "0011"
down_revision = "0009"

metadata = sa.MetaData()
sa.Table(
    "popular_query",
    metadata,
    sa.Column("id", CountedId, primary_key=True),
    sa.Column("text", ExactString(40), nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("searches", sa.Integer, nullable=False),
    sa.Index("ix_popular_query_text", "text", "day", unique=True),
    sa.Index("ix_popular_query_day", "day"),
    sqlite_autoincrement=True,
    mysql_charset="utf8mb4",
)


def upgrade() -> None:
    """Make what is missing: a run that was cut off may have left the table without its indexes."""
    bind = op.get_bind()
    metadata.create_all(bind)
    for table in metadata.tables.values():
        for index in table.indexes:
            index.create(bind, checkfirst=True)
