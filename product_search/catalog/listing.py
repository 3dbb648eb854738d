"""Lists of products: what is asked for, in an order that an index has, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import ColumnElement, func, not_, select
from sqlalchemy.orm import Session

from data_models import ProductListQuery, ProductPage
from orm_models import ListSegment, Product, filter_conditions, list_segments
from product_search.catalog.rows import product_out
from product_search.schemas.fields import INT64_MAX


def fetch_page(session: Session, query: ProductListQuery) -> ProductPage:
    """Return the products of the page, and how many there are."""
    conditions = _conditions(query)
    return ProductPage(
        items=[product_out(row) for row in _page(session, query, conditions)],
        total=_count(session, conditions),
        page=query.page,
        page_size=query.page_size,
    )


def _conditions(query: ProductListQuery) -> list[ColumnElement[bool]]:
    conditions = filter_conditions(query.filters())
    if query.q is not None:
        conditions.append(is_called(query.q))
    if query.sku is not None:
        conditions.append(sku_contains(query.sku))
    if query.group is not None:
        conditions.append(Product.group == query.group)
    if query.index_status is not None:
        conditions.append(Product.index_status == query.index_status)
    return conditions


def _segments(query: ProductListQuery) -> Iterator[ListSegment]:
    """Yield the list's segments; the product with just the sku that is asked for comes first."""
    if query.sku is None or query.after_id is not None:
        yield from list_segments(query.order)
        return
    is_exact = Product.sku == query.sku
    for condition in (is_exact, not_(is_exact)):
        for segment in list_segments(query.order):
            yield ListSegment((condition, *segment.conditions), segment.order)


def _page(
    session: Session, query: ProductListQuery, conditions: Sequence[ColumnElement[bool]]
) -> list[Product]:
    """Return the rows of the page, from one segment after the other until it is full."""
    if query.after_id is not None:
        conditions = [*conditions, Product.id > query.after_id]
    skipped = (query.page - 1) * query.page_size
    items: list[Product] = []
    for segment in _segments(query):
        segment_conditions = [*conditions, *segment.conditions]
        rows = select(Product).where(*segment_conditions).order_by(*segment.order).offset(skipped)
        found = session.scalars(rows.limit(query.page_size - len(items))).all()
        items += found
        if len(items) == query.page_size:
            break
        # The segment has ended; the next one goes on from there.
        skipped = 0 if found or not skipped else skipped - _count(session, segment_conditions)
    return items


def _count(session: Session, conditions: Sequence[ColumnElement[bool]]) -> int:
    counted = select(func.count()).select_from(Product).where(*conditions)
    return session.scalar(counted) or 0


def is_called(text: str) -> ColumnElement[bool]:
    """Return the condition that a title holds the text as it is, or a sku, or that it is an id."""
    named = (func.instr(Product.title, text) > 0) | sku_contains(text)
    is_id = text.isascii() and text.isdecimal() and int(text) <= INT64_MAX
    return named | (Product.id == int(text)) if is_id else named


def sku_contains(part: str) -> ColumnElement[bool]:
    """Return the condition that a sku holds the text, in whatever case."""
    # The database changes both: SQLite's upper() knows ASCII alone.
    return func.instr(func.upper(Product.sku), func.upper(part)) > 0
