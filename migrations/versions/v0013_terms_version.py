"""Which terms a collection's products have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

column = sa.Column("terms_version", sa.Integer, nullable=False, server_default="1")


def upgrade() -> None:
    """Add the column, unless a run that was cut off has; what older releases filled has 1."""
    known = {one["name"] for one in sa.inspect(op.get_bind()).get_columns("vector_collection")}
    if column.name not in known:
        op.add_column("vector_collection", column)
