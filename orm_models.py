"""The relational room: tables, engine and named queries; this store is the truth."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    DateTime,
    Dialect,
    Engine,
    Index,
    Integer,
    Numeric,
    Select,
    String,
    Text,
    and_,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    TimeoutError as PoolTimeout,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.types import TypeDecorator, TypeEngine

from data_models import IndexStatus, ListSort, PriceRange, ProductOut, SearchFilters
from product_search.errors import DatabaseUnavailable, StartError

_EPOCH_MS = 1_577_836_800_000  # 2020-01-01T00:00:00Z: 41 bits from here last until 2089
_RANDOM_BITS = 22


class PrimaryKeySource:
    """Draws 63-bit, time-ordered primary keys: 41 bits of milliseconds, then 22 random bits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def draw(self) -> int:
        """A key above every key that this process drew before."""
        milliseconds = time.time_ns() // 1_000_000 - _EPOCH_MS
        fresh = milliseconds << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        with self._lock:
            self._last = max(fresh, self._last + 1)
            return self._last


_primary_keys = PrimaryKeySource()


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime, kept as a naive one, to the microsecond on every database."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """DATETIME(6) on MySQL, whose plain DATETIME drops fractions."""
        exact = mysql.DATETIME(fsp=6) if dialect.name in ("mysql", "mariadb") else DateTime()
        return dialect.type_descriptor(exact)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """UTC without the zone."""
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The zone put back."""
        return value and value.replace(tzinfo=UTC)


class Money(TypeDecorator[Decimal]):
    """An exact amount: DECIMAL(12, 2), or whole hundredths on SQLite, which has no decimals."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """BIGINT of hundredths on SQLite, DECIMAL(12, 2) elsewhere."""
        exact = BigInteger() if dialect.name == "sqlite" else Numeric(12, 2)
        return dialect.type_descriptor(exact)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | int | None:
        """Hundredths on SQLite."""
        return value if value is None or dialect.name != "sqlite" else int(value * 100)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """An amount with two decimals."""
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
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """VARCHAR with the server's own name of that collation (MySQL's is of 8.0.17)."""
        if dialect.name not in ("mysql", "mariadb"):
            return dialect.type_descriptor(String(self.length))
        is_mariadb = getattr(dialect, "is_mariadb", False)
        collation = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
        exact = mysql.VARCHAR(self.length, collation=collation)
        return dialect.type_descriptor(exact)


_Id = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only INTEGER keys


def _now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """All tables."""


class Product(Base):
    """A product: the row that every answer is made from."""

    __tablename__ = "product"
    __table_args__ = (
        Index("ix_product_category", "category"),
        Index("ix_product_brand", "brand"),
        Index("ix_product_price", "price"),
        Index("ix_product_index_status", "index_status"),
        # AUTOINCREMENT: the id of a deleted product is never given to another.
        {"sqlite_autoincrement": True, "mysql_charset": "utf8mb4"},
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    milvus_id: Mapped[int] = mapped_column(BigInteger, unique=True, default=_primary_keys.draw)
    sku: Mapped[str | None] = mapped_column(ExactString(100), unique=True)
    title: Mapped[str] = mapped_column(ExactString(500))
    description: Mapped[str | None] = mapped_column(Text)
    category: Mapped[str | None] = mapped_column(ExactString(100))
    brand: Mapped[str | None] = mapped_column(ExactString(100))
    price: Mapped[Decimal | None] = mapped_column(Money)
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    image_hash: Mapped[str | None] = mapped_column(String(64))
    revision: Mapped[int] = mapped_column(default=1)
    index_status: Mapped[str] = mapped_column(String(16), default=IndexStatus.pending)
    index_error: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=_now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=_now)

    def to_out(self) -> ProductOut:
        """The product as the API shows it."""
        return ProductOut(
            product_id=self.id,
            sku=self.sku,
            title=self.title,
            description=self.description,
            category=self.category,
            brand=self.brand,
            price=self.price,
            attributes=self.attributes,
            image_url=f"/product/{self.id}/image" if self.image_hash else None,
            milvus_id=str(self.milvus_id),
            revision=self.revision,
            index_status=IndexStatus(self.index_status),
            index_error=self.index_error,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


class OutboxEvent(Base):
    """Index work that a committed write left to do; never a vector, never the product's content."""

    __tablename__ = "outbox_event"
    __table_args__ = (
        Index("ix_outbox_event_product", "product_id"),
        {"sqlite_autoincrement": True, "mysql_charset": "utf8mb4"},
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    product_id: Mapped[int] = mapped_column(BigInteger)
    milvus_id: Mapped[int] = mapped_column(BigInteger)
    operation: Mapped[str] = mapped_column(String(16))
    revision: Mapped[int]
    # Of a product's events, the oldest alone bears these three.
    claim_token: Mapped[str | None] = mapped_column(String(32))
    available_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=_now)


class ActiveCollection(Base):
    """The one Milvus collection that searches read; all processes go by this row."""

    __tablename__ = "active_collection"
    __table_args__ = ({"mysql_charset": "utf8mb4"},)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    name: Mapped[str] = mapped_column(String(100))
    encoder_fingerprint: Mapped[str] = mapped_column(String(64))
    activated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=_now)


class Database:
    """The engine, and one transaction per use case."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._reads = sessionmaker(self.engine, expire_on_commit=False)
        writes = self.engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        self._writes = sessionmaker(writes, expire_on_commit=False)

    def create_tables(self) -> None:
        """Create the tables that are not there yet."""
        with _translated():
            Base.metadata.create_all(self.engine)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session to read with.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        with _translated(), self._reads() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in one transaction: committed at the end, rolled back on any error.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        with _translated(), self._writes.begin() as session:
            yield session

    def ping(self) -> None:
        """Raise DatabaseUnavailable where the catalogue can't be read."""
        with self.read() as session:
            session.execute(select(Product).order_by(Product.id.desc()).limit(1))

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        # Wrong data and broken constraints are the caller's to handle, or bugs; the rest is
        # the database that can't be reached, is locked, damaged, full or shutting down.
        if type(error) in (DataError, IntegrityError, ProgrammingError, NotSupportedError):
            raise
        raise DatabaseUnavailable("数据库暂时不可用，请稍后重试") from error


def _engine(url: str) -> Engine:
    try:
        return _new_engine(url)
    except (ArgumentError, ImportError, TypeError, ValueError) as error:
        raise StartError(f"PRODUCT_SEARCH_DATABASE_URL 无法使用：{error}") from error


def _new_engine(url: str) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, pool_recycle=1800, pool_size=20)
    engine = create_engine(url, pool_size=20, connect_args={"timeout": 10})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # sqlite3's own BEGIN comes too late; ours follows
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # A transaction that reads and then writes must hold the write lock from the start,
        # or SQLite refuses it as soon as another one has written in between.
        options = connection.get_execution_options()
        connection.exec_driver_sql(options.get("sqlite_begin", "BEGIN"))

    return engine


def matching(filters: SearchFilters) -> list[ColumnElement[bool]]:
    """The conditions that a product meets to pass the filters, as Milvus's filter has them."""
    conditions: list[ColumnElement[bool]] = []
    if filters.category is not None:
        conditions.append(Product.category.in_(filters.category))
    if filters.brand is not None:
        conditions.append(Product.brand.in_(filters.brand))
    return conditions + _priced(filters.price or PriceRange.model_construct())


def _priced(prices: PriceRange) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if prices.gte is not None:
        conditions.append(Product.price >= prices.gte)
    if prices.lte is not None:
        conditions.append(Product.price <= prices.lte)
    return conditions


def with_title_part(part: str) -> ColumnElement[bool]:
    """Titles that hold the text literally, `%` and `_` included, case-sensitively."""
    return func.instr(Product.title, part) > 0


def list_order(sort: ListSort) -> tuple[ColumnElement[Any], ...]:
    """ORDER BY with ties broken by id; products without a price come last."""
    unpriced = Product.price.is_(None)
    orders: dict[ListSort, tuple[ColumnElement[Any], ...]] = {
        ListSort.newest: (Product.id.desc(),),
        ListSort.oldest: (Product.id.asc(),),
        ListSort.price_asc: (unpriced, Product.price.asc(), Product.id.asc()),
        ListSort.price_desc: (unpriced, Product.price.desc(), Product.id.asc()),
    }
    return orders[sort]


def products_by_milvus_id(
    milvus_ids: Sequence[int], *conditions: ColumnElement[bool]
) -> Select[Product]:
    """The products bound to these entities that meet the conditions, in no order."""
    return select(Product).where(and_(Product.milvus_id.in_(milvus_ids), *conditions))
