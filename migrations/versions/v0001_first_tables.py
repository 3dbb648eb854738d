"""The tables as the release before migrations made them.

Its databases have them already, and no alembic_version: what is there is left as it is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from product_search.database.column_types import CountedId, ExactString, Money, UtcDateTime

revision = "0001"
down_revision = None

metadata = sa.MetaData()
sa.Table(
    "product",
    metadata,
    sa.Column("id", CountedId, primary_key=True),
    sa.Column("milvus_id", sa.BigInteger, nullable=False, unique=True),
    sa.Column("sku", ExactString(100), unique=True),
    sa.Column("title", ExactString(500), nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("category", ExactString(100)),
    sa.Column("brand", ExactString(100)),
    sa.Column("price", Money),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("image_hash", sa.String(64)),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("index_status", sa.String(16), nullable=False),
    sa.Column("index_error", sa.String(500)),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Index("ix_product_category", "category"),
    sa.Index("ix_product_brand", "brand"),
    sa.Index("ix_product_price", "price"),
    sa.Index("ix_product_index_status", "index_status"),
    sqlite_autoincrement=True,
    mysql_charset="utf8mb4",
)
sa.Table(
    "outbox_event",
    metadata,
    sa.Column("id", CountedId, primary_key=True),
    sa.Column("product_id", sa.BigInteger, nullable=False),
    sa.Column("milvus_id", sa.BigInteger, nullable=False),
    sa.Column("operation", sa.String(16), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("ix_outbox_event_product", "product_id"),
    sqlite_autoincrement=True,
    mysql_charset="utf8mb4",
)
sa.Table(
    "active_collection",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("encoder_fingerprint", sa.String(64), nullable=False),
    sa.Column("activated_at", UtcDateTime, nullable=False),
    mysql_charset="utf8mb4",
)


def upgrade() -> None:
    """Make what is missing."""
    bind = op.get_bind()
    metadata.create_all(bind)
    for table in metadata.tables.values():
        for index in table.indexes:
            index.create(bind, checkfirst=True)
