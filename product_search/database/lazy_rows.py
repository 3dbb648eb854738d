"""Rows of which few values are looked at: each value is converted when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, Select, select, type_coerce
from sqlalchemy.sql.elements import KeyedColumnElement
from sqlalchemy.types import NULLTYPE

Convert = Callable[[Any], Any]


class LazyRow:
    """A row by the names of its columns; a subclass declares their types.

    Of all that a search finds only a page is shown, and converting is most of what a row costs.
    """

    def __init__(self, values: Sequence[Any], columns: Mapping[str, tuple[int, Convert | None]]):
        """Take the driver's values, and by column its place among them and its conversion."""
        self._values = values
        self._columns = columns

    def __getattr__(self, name: str) -> Any:
        """Return the column's value, converted once."""
        try:
            place, convert = self.__dict__["_columns"][name]
        except KeyError:
            raise AttributeError(name) from None
        value = self._values[place]
        self.__dict__[name] = value = convert(value) if convert else value
        return value


Row = TypeVar("Row", bound=LazyRow)


def select_raw(columns: Sequence[KeyedColumnElement[Any]]) -> Select[*tuple[Any, ...]]:
    """Return the SELECT of these columns' values as the driver gives them."""
    return select(*(type_coerce(column, NULLTYPE).label(column.key) for column in columns))


def fetch_lazily(
    connection: Connection,
    kind: type[Row],
    columns: tuple[KeyedColumnElement[Any], ...],
    statement: Select[*tuple[Any, ...]],
    parameters: Mapping[str, Any],
) -> list[Row]:
    """Return the rows of a statement that began as `select_raw` of the columns."""
    conversions = _conversions(columns, connection.dialect)
    return [kind(values, conversions) for values in connection.execute(statement, parameters).all()]


@lru_cache(maxsize=16)
def _conversions(
    columns: tuple[KeyedColumnElement[Any], ...], dialect: Dialect
) -> dict[str, tuple[int, Convert | None]]:
    return {
        column.key: (place, column.type.dialect_impl(dialect).result_processor(dialect, None))
        for place, column in enumerate(columns)
    }
