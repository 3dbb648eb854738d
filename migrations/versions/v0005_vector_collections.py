"""Several Milvus collections by role, instead of the one that was active."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from product_search.database.column_types import UtcDateTime

revision = "0005"
down_revision = "0004"

collection = sa.Table(
    "vector_collection",
    sa.MetaData(),
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("encoder", sa.String(32)),
    sa.Column("encoder_fingerprint", sa.String(64), nullable=False),
    sa.Column("role_since", UtcDateTime, nullable=False),
    mysql_charset="utf8mb4",
)
former = sa.Table(
    "active_collection",
    sa.MetaData(),
    sa.Column("name", sa.String(100)),
    sa.Column("encoder_fingerprint", sa.String(64)),
    sa.Column("activated_at", UtcDateTime),
)


def upgrade() -> None:
    """Carry the active collection over, unless a run that was cut off has."""
    bind = op.get_bind()
    collection.create(bind, checkfirst=True)
    if not sa.inspect(bind).has_table(former.name):
        return
    old = sa.select(
        former.c.name, sa.literal("active"), former.c.encoder_fingerprint, former.c.activated_at
    ).where(former.c.name.not_in(sa.select(collection.c.name)))
    columns = ["name", "role", "encoder_fingerprint", "role_since"]
    op.execute(collection.insert().from_select(columns, old))
    former.drop(bind)
