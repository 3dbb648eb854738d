"""Keys of the API, and the secrets by which addresses of pictures are signed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from product_search.database.column_types import CountedId, ExactString, UtcDateTime

revision = "0015"
down_revision = "0014"

metadata = sa.MetaData()
sa.Table(
    "api_key",
    metadata,
    sa.Column("id", CountedId, primary_key=True),
    sa.Column("key_id", ExactString(16), nullable=False, unique=True),
    sa.Column("name", ExactString(100), nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("scope", sa.String(16), nullable=False),
    sa.Column("origins", sa.JSON, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("revoked_at", UtcDateTime),
    sa.Column("last_used_at", UtcDateTime),
    sqlite_autoincrement=True,
    mysql_charset="utf8mb4",
)
sa.Table(
    "signing_secret",
    metadata,
    sa.Column("id", CountedId, primary_key=True),
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sqlite_autoincrement=True,
    mysql_charset="utf8mb4",
)


def upgrade() -> None:
    """Make the tables that are missing: a run that was cut off may have left the first alone."""
    metadata.create_all(op.get_bind())
