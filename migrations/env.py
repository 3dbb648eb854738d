"""Alembic's door: migrations on the connection that product_search.bootstrap.migrate holds."""

from __future__ import annotations

from alembic import context

from orm_models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
)
context.run_migrations()
