"""Lists of products: what is asked for, in an order that an index has, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, func, not_, select
from sqlalchemy.orm import Session

from data_models import ListSort, ProductListQuery, ProductPage
from orm_models import Product, filter_conditions
from product_search.access.addresses import Addresses
from product_search.catalog.rows import product_out
from product_search.schemas.fields import INT64_MAX


def fetch_page(session: Session, query: ProductListQuery, addresses: Addresses) -> ProductPage:
    """Return the products of the page, and how many there are."""
    conditions = _conditions(query)
    return ProductPage(
        items=[product_out(row, addresses) for row in _page(session, query, conditions)],
        total=_count(session, conditions),
        page=query.page,
        page_size=query.page_size,
    )


class ListSegment(NamedTuple):
    """Part of a list: products that meet the conditions, in an order that an index has."""

    conditions: tuple[ColumnElement[bool], ...]
    order: tuple[ColumnElement[Any], ...]


def list_segments(sort: ListSort) -> tuple[ListSegment, ...]:
    """Return the segments that make up the list one after the other; ties are broken by id.

    Products without a price come last. A descending index has them there; an ascending one has
    them first, so they are a segment of their own: ORDER BY price IS NULL would sort all rows.
    """
    by_id, price = Product.id.asc(), Product.price
    walks: dict[ListSort, tuple[ListSegment, ...]] = {
        ListSort.newest: (ListSegment((), (Product.id.desc(),)),),
        ListSort.oldest: (ListSegment((), (by_id,)),),
        ListSort.price_asc: (
            ListSegment((price.is_not(None),), (price.asc(), by_id)),
            ListSegment((price.is_(None),), (by_id,)),
        ),
        ListSort.price_desc: (ListSegment((), (price.desc(), by_id)),),
    }
    return walks[sort]


def listed_milvus_ids(
    session: Session, conditions: Sequence[ColumnElement[bool]], order: ListSort, limit: int
) -> list[int]:
    """Return the first keys, at most `limit`, of the products that meet the conditions."""
    keys: list[int] = []
    for segment in list_segments(order):
        rows = select(Product.milvus_id).where(*conditions, *segment.conditions)
        first = rows.order_by(*segment.order).limit(limit - len(keys))
        keys += session.scalars(first)
        if len(keys) == limit:
            break
    return keys


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
