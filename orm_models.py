"""The relational room: tables, engine and named queries; this store is the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    Text,
    bindparam,
    select,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    InstrumentedAttribute,
    Mapped,
    Session,
    mapped_column,
    sessionmaker,
)

from data_models import (
    IndexStatus,
    MomentRange,
    PriceRange,
    SearchFilters,
)
from product_search.context import MAX_REQUEST_ID
from product_search.database.column_types import (
    CountedId,
    ExactJson,
    ExactString,
    Money,
    UtcDateTime,
)
from product_search.database.key_sets import key_in, write_keys
from product_search.database.lazy_rows import LazyRow, fetch_lazily, select_raw
from product_search.database.primary_keys import draw_primary_key
from product_search.database.transactions import (
    LockPurpose,
    Pool,
    WriteTurns,
    for_writes,
    open_engine,
    run_read,
    run_write,
    take_lock,
    translated,
)
from product_search.errors import DatabaseUnavailable

P = ParamSpec("P")
T = TypeVar("T")

MAX_PRINCIPAL = 100  # characters of a name


def _now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """Base class of all tables."""


class Product(Base):
    """A product; every answer is made from these rows."""

    __tablename__ = "product"
    __table_args__ = (
        Index("ix_product_category", "category"),
        Index("ix_product_brand", "brand"),
        Index("ix_product_price", "price"),
        Index("ix_product_group_key", "group"),
        Index("ix_product_binding", "milvus_id", "group"),
        Index("ix_product_index_status", "index_status"),
        Index("ix_product_image_hash", "image_hash"),
        Index("ix_product_title_key", "title_key"),
        # AUTOINCREMENT: the id of a deleted product is never given to another.
        {"sqlite_autoincrement": True, "mysql_charset": "utf8mb4"},
    )

    id: Mapped[int] = mapped_column(CountedId, primary_key=True)
    milvus_id: Mapped[int] = mapped_column(BigInteger, unique=True, default=draw_primary_key)
    sku: Mapped[str | None] = mapped_column(ExactString(100), unique=True)
    title: Mapped[str] = mapped_column(ExactString(500))
    description: Mapped[str | None] = mapped_column(Text)
    category: Mapped[str | None] = mapped_column(ExactString(100))
    brand: Mapped[str | None] = mapped_column(ExactString(100))
    price: Mapped[Decimal | None] = mapped_column(Money)
    attributes: Mapped[dict[str, Any]] = mapped_column(ExactJson, default=dict)
    # GROUP is a word of SQL. NULL: a product that is no variant of another.
    group: Mapped[str | None] = mapped_column("group_key", ExactString(100), key="group")
    image_hash: Mapped[str | None] = mapped_column(String(64))
    image_generated: Mapped[bool] = mapped_column(default=False, server_default="0")
    # By these two duplicates are found; no answer shows them. NULL: not worked out yet.
    image_phash: Mapped[bytes | None] = mapped_column(LargeBinary(288), deferred=True)
    title_key: Mapped[str | None] = mapped_column(String(32), deferred=True)
    revision: Mapped[int] = mapped_column(default=1)
    index_status: Mapped[str] = mapped_column(String(16), default=IndexStatus.pending)
    index_error: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=_now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=_now)


# Dearest first, ties by id as in the list: not what ix_product_price is when read backwards.
Index("ix_product_price_desc", Product.price.desc(), Product.id)


class OutboxEvent(Base):
    """Pending index work of a committed write; never a vector, never the product's content."""

    __tablename__ = "outbox_event"
    __table_args__ = (
        Index("ix_outbox_event_product", "product_id"),
        Index("ix_outbox_event_publish_after", "publish_after"),
        Index("ix_outbox_event_priority", "priority", "id"),
        {"sqlite_autoincrement": True, "mysql_charset": "utf8mb4"},
    )

    id: Mapped[int] = mapped_column(CountedId, primary_key=True)
    product_id: Mapped[int] = mapped_column(BigInteger)
    milvus_id: Mapped[int] = mapped_column(BigInteger)
    operation: Mapped[str] = mapped_column(String(16))
    revision: Mapped[int]
    # Of a product's events, the oldest alone bears these three.
    claim_token: Mapped[str | None] = mapped_column(String(32))
    available_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    # With Kafka: when the relay publishes it, the oldest of its product, once more; NULL: at once.
    publish_after: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=_now)
    # 0 comes first: what people have written (outbox.events.Priority).
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    request_id: Mapped[str | None] = mapped_column(String(MAX_REQUEST_ID))  # that wrote it


class VectorCollection(Base):
    """A Milvus collection and the part it plays; all processes go by these rows."""

    __tablename__ = "vector_collection"
    __table_args__ = ({"mysql_charset": "utf8mb4"},)

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    encoder: Mapped[str | None] = mapped_column(String(32))  # None: an older release made the row
    encoder_fingerprint: Mapped[str] = mapped_column(String(64))
    terms_version: Mapped[int] = mapped_column(server_default="1")
    role_since: Mapped[datetime] = mapped_column(UtcDateTime, default=_now)


class Run(Base):
    """Long work that outlives a request and a restart: an import, a reindexing, a check."""

    __tablename__ = "run"
    __table_args__ = (
        Index("ix_run_kind_state", "kind", "state"),
        {"sqlite_autoincrement": True, "mysql_charset": "utf8mb4"},
    )

    id: Mapped[int] = mapped_column(CountedId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16), default="queued")
    options: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    progress: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    error: Mapped[str | None] = mapped_column(String(500))
    claim_token: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=_now)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RunProblem(Base):
    """What a run found wrong: a bad row of a file, a product that has drifted."""

    __tablename__ = "run_problem"
    __table_args__ = (
        Index("ix_run_problem_run", "run_id", "id"),
        {"sqlite_autoincrement": True, "mysql_charset": "utf8mb4"},
    )

    id: Mapped[int] = mapped_column(CountedId, primary_key=True)
    run_id: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(ExactString(100))  # a line, a product_id, a file's name
    reason: Mapped[str] = mapped_column(Text)


class PopularQuery(Base):
    """A query that found products, and how often it was asked on a day; nothing of who asked."""

    __tablename__ = "popular_query"
    __table_args__ = (
        Index("ix_popular_query_text", "text", "day", unique=True),
        Index("ix_popular_query_day", "day"),
        {"sqlite_autoincrement": True, "mysql_charset": "utf8mb4"},
    )

    id: Mapped[int] = mapped_column(CountedId, primary_key=True)
    text: Mapped[str] = mapped_column(ExactString(40))
    day: Mapped[date]
    searches: Mapped[int]


class ApiKey(Base):
    """A key that lets a caller in; of its text only a digest is kept."""

    __tablename__ = "api_key"
    __table_args__ = ({"sqlite_autoincrement": True, "mysql_charset": "utf8mb4"},)

    id: Mapped[int] = mapped_column(CountedId, primary_key=True)
    key_id: Mapped[str] = mapped_column(ExactString(16), unique=True)  # its public part
    name: Mapped[str] = mapped_column(ExactString(100))
    digest: Mapped[bytes] = mapped_column(LargeBinary)  # SHA-256 of the whole text
    scope: Mapped[str] = mapped_column(String(16))
    # Of the pages that may use it, where it is publishable; else empty.
    origins: Mapped[list[str]] = mapped_column(JSON, default=list)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=_now)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # to some ten minutes


class SigningSecret(Base):
    """A secret by which addresses of pictures are signed: the newest signs, each verifies."""

    __tablename__ = "signing_secret"
    __table_args__ = ({"sqlite_autoincrement": True, "mysql_charset": "utf8mb4"},)

    id: Mapped[int] = mapped_column(CountedId, primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=_now)


class ChangeRecord(Base):
    """A change that was made, and who made it: never altered, and dropped only by its age."""

    __tablename__ = "change_record"
    __table_args__ = (
        Index("ix_change_record_subject", "subject_kind", "subject_id", "id"),
        Index("ix_change_record_operation", "operation", "id"),
        Index("ix_change_record_at", "at"),
        {"sqlite_autoincrement": True, "mysql_charset": "utf8mb4"},
    )

    id: Mapped[int] = mapped_column(CountedId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=_now)
    operation: Mapped[str] = mapped_column(String(32))
    principal: Mapped[str] = mapped_column(ExactString(MAX_PRINCIPAL))
    key_id: Mapped[str | None] = mapped_column(String(32))
    request_id: Mapped[str | None] = mapped_column(String(MAX_REQUEST_ID))
    subject_kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str | None] = mapped_column(ExactString(100))  # None: `count` of them
    count: Mapped[int]
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)


class Database:
    """The engine, and one transaction per use case, given as a function of its session.

    The function may run several times, so whatever it does besides the session must bear repeating.
    """

    def __init__(self, url: str, pool: Pool | None = None) -> None:
        """Prepare the engine; nothing is connected yet. Raises StartError at an unusable URL."""
        self.engine = open_engine(url, pool or Pool())
        self._reads = sessionmaker(self.engine, expire_on_commit=False)
        self._turns = WriteTurns(self.engine)
        self._writes = sessionmaker(for_writes(self.engine), expire_on_commit=False)

    def read(
        self, query: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `query(session, *args, **kwargs)`; run again where the database undid it.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        return run_read(self._reads, query, *args, **kwargs)

    def write(
        self, change: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `change(session, *args, **kwargs)`, run in one transaction and committed.

        The change runs again, as a whole, where the database undid it.

        Raises:
            OutcomeUnknown: the connection was lost after COMMIT was sent.
            DatabaseUnavailable: the database does not answer; nothing was written.
        """
        with self._turns.turn():
            return run_write(self._writes, change, *args, **kwargs)

    @contextmanager
    def alone(self, purpose: LockPurpose) -> Iterator[None]:
        """Keep other processes out that come for the same purpose, on a MySQL server.

        Raises:
            DatabaseUnavailable: the database does not answer, or another process takes too long.
        """
        self.ping()  # in place of a connection that was lost while idle
        with translated(), self.engine.connect() as connection:
            if not take_lock(connection, purpose):
                raise DatabaseUnavailable("另一个进程正在做同一件事，请稍后重试")
            try:
                yield
            finally:
                connection.invalidate()  # a lock ends with its connection

    def ping(self) -> None:
        """Raise DatabaseUnavailable where the catalog can't be read."""
        newest = select(Product).order_by(Product.id.desc()).limit(1)
        self.read(lambda session: session.scalar(newest))

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def filter_conditions(filters: SearchFilters) -> list[ColumnElement[bool]]:
    """Return the conditions on columns that a product meets to pass the filters, as in Milvus.

    Conditions on attributes are not among them: see `milvus.filters.passes`.
    """
    conditions: list[ColumnElement[bool]] = []
    if filters.category is not None:
        conditions.append(Product.category.in_(filters.category))
    if filters.brand is not None:
        conditions.append(Product.brand.in_(filters.brand))
    if filters.has_image is not None:
        has_image = Product.image_hash.is_not(None)
        conditions.append(has_image if filters.has_image else ~has_image)
    conditions += _between(Product.price, filters.price)
    return conditions + _between(Product.created_at, filters.created_at)


def _between(
    column: InstrumentedAttribute[Any], ends: PriceRange | MomentRange | None
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if ends is not None and ends.gte is not None:
        conditions.append(column >= ends.gte)
    if ends is not None and ends.lte is not None:
        conditions.append(column <= ends.lte)
    return conditions


class ProductRow(LazyRow):
    """What answers show of a product, read without a session's bookkeeping."""

    id: int
    milvus_id: int
    sku: str | None
    title: str
    description: str | None
    category: str | None
    brand: str | None
    price: Decimal | None
    attributes: dict[str, Any]
    group: str | None
    image_hash: str | None
    image_generated: bool
    revision: int
    index_status: str
    index_error: str | None
    created_at: datetime
    updated_at: datetime


_SHOWN = tuple(Product.__table__.columns[name] for name in ProductRow.__annotations__)
_BY_ID = select_raw(_SHOWN).where(key_in(Product.id, bindparam("keys", type_=Text)))


def products_by_id(session: Session, product_ids: Sequence[int]) -> list[ProductRow]:
    """Return the products that exist, in no order."""
    keys = {"keys": write_keys(product_ids)}
    return fetch_lazily(session.connection(), ProductRow, _SHOWN, _BY_ID, keys)
