"""Column types that hold the same value on SQLite, MySQL and MariaDB."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, Numeric, String
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator, TypeEngine


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime, kept as a naive one, to the microsecond on every database."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return DATETIME(6) on MySQL, whose plain DATETIME drops fractions."""
        exact = mysql.DATETIME(fsp=6) if dialect.name in ("mysql", "mariadb") else DateTime()
        return dialect.type_descriptor(exact)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC and drop the zone."""
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Add the zone again."""
        return value and value.replace(tzinfo=UTC)


class Money(TypeDecorator[Decimal]):
    """An exact amount: DECIMAL(12, 2), or whole hundredths on SQLite, which has no decimals."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return BIGINT for hundredths on SQLite, DECIMAL(12, 2) elsewhere."""
        exact = BigInteger() if dialect.name == "sqlite" else Numeric(12, 2)
        return dialect.type_descriptor(exact)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | int | None:
        """Convert to hundredths on SQLite."""
        return value if value is None or dialect.name != "sqlite" else int(value * 100)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Convert to an amount with two decimals."""
        if value is None:
            return None
        amount = Decimal(value) / 100 if dialect.name == "sqlite" else Decimal(value)
        return amount.quantize(Decimal("0.01"))


class ExactString(TypeDecorator[str]):
    """VARCHAR compared code point by code point, as SQLite and Milvus compare it.

    On MySQL by a collation that does not pad: in utf8mb4_bin "a" and "a " are equal.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        """Set the greatest length, in characters."""
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return VARCHAR with the server's name of that collation (MySQL has it since 8.0.17)."""
        if dialect.name not in ("mysql", "mariadb"):
            return dialect.type_descriptor(String(self.length))
        is_mariadb = getattr(dialect, "is_mariadb", False)
        collation = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
        exact = mysql.VARCHAR(self.length, collation=collation)
        return dialect.type_descriptor(exact)


class ExactJson(TypeDecorator[Any]):
    """JSON in which true, 1 and 1.0 differ, so that a change between them is saved."""

    impl = JSON
    cache_ok = True

    def compare_values(self, x: Any, y: Any) -> bool:
        """Compare as JSON text, whatever the order of keys."""
        return same_json(x, y)


def same_json(one: object, other: object) -> bool:
    """Return whether both are the same JSON; Python's == does not tell true from 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


CountedId = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only INTEGER keys
