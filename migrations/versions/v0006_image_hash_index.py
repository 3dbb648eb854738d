"""An index by which the doctor tells whether any product names an image."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

product = sa.Table("product", sa.MetaData(), sa.Column("image_hash", sa.String(64)))
by_image_hash = sa.Index("ix_product_image_hash", product.c.image_hash)


def upgrade() -> None:
    """Make the index, unless a run that was cut off has made it."""
    by_image_hash.create(op.get_bind(), checkfirst=True)
