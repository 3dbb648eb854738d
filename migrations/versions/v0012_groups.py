"""Which products are variants of one another, and the indexes by which groups are read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from product_search.database.column_types import ExactString

revision = "0012"
down_revision = "0011"

column: sa.Column[str] = sa.Column("group_key", ExactString(100))
indexes = {
    "ix_product_group_key": ["group_key"],
    "ix_product_binding": ["milvus_id", "group_key"],
}


def upgrade() -> None:
    """Add the column and the indexes, but for what a run that was cut off has added.

    Old rows have NULL in it: they stay hits of their own until somebody says otherwise.
    """
    there = sa.inspect(op.get_bind())
    if column.name not in {one["name"] for one in there.get_columns("product")}:
        op.add_column("product", column)
    known = {one["name"] for one in there.get_indexes("product")}
    for name, columns in indexes.items():
        if name not in known:
            op.create_index(name, "product", columns)
