"""An index for the dearest products first, ties by id as in the list."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

product = sa.Table(
    "product", sa.MetaData(), sa.Column("id", sa.BigInteger), sa.Column("price", sa.Numeric)
)
by_price_desc = sa.Index("ix_product_price_desc", product.c.price.desc(), product.c.id)


def upgrade() -> None:
    """Make the index, unless a run that was cut off has made it."""
    by_price_desc.create(op.get_bind(), checkfirst=True)
