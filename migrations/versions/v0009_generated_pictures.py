"""Which products show an image that a model made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

column = sa.Column("image_generated", sa.Boolean, nullable=False, server_default="0")


def upgrade() -> None:
    """Add the column, unless a run that was cut off has; no older release made images."""
    known = {one["name"] for one in sa.inspect(op.get_bind()).get_columns("product")}
    if column.name not in known:
        op.add_column("product", column)
