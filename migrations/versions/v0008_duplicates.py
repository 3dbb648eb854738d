"""By what duplicates are found: a product's perceptual hash, and a key of its title and brand."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

columns = (sa.Column("image_phash", sa.LargeBinary(288)), sa.Column("title_key", sa.String(32)))
index = "ix_product_title_key"


def upgrade() -> None:
    """Add the columns and the index, but for what a run that was cut off has added.

    Old rows have NULL in them until the next search for duplicates works them out.
    """
    there = sa.inspect(op.get_bind())
    known = {column["name"] for column in there.get_columns("product")}
    for column in columns:
        if column.name not in known:
            op.add_column("product", column)
    if index not in {one["name"] for one in there.get_indexes("product")}:
        op.create_index(index, "product", ["title_key"])
