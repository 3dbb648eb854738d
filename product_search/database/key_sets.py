"""Many keys in one parameter and many rows in one value: fewer things for drivers to handle.

SQLite's driver lets other threads run before each row, which under load costs more than the row;
SQLAlchemy writes a list of keys into the statement one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType


class key_in(FunctionElement[Any]):
    """The condition that a column is one of the integers in a JSON array: key_in(column, array)."""

    name = "key_in"
    type = NullType()  # of a Boolean SQLite would be asked for its being 1, which uses no index
    inherit_cache = True


class row_array(FunctionElement[str]):
    """The rows' values of some columns as a JSON array of arrays; NULL where no row is there.

    Read it with `read_rows`.
    """

    name = "row_array"
    type = String()
    inherit_cache = True


@compiles(key_in)
def _key_in(element: key_in, compiler: SQLCompiler, **how: Any) -> str:
    column, keys = (compiler.process(clause, **how) for clause in element.clauses)
    rows = f"JSON_TABLE({keys}, '$[*]' COLUMNS (wanted BIGINT PATH '$')) AS wanted_keys"
    return f"({column} IN (SELECT wanted FROM {rows}))"


@compiles(key_in, "sqlite")
def _key_in_sqlite(element: key_in, compiler: SQLCompiler, **how: Any) -> str:
    column, keys = (compiler.process(clause, **how) for clause in element.clauses)
    return f"({column} IN (SELECT value FROM json_each({keys})))"


@compiles(row_array)
def _row_array(element: row_array, compiler: SQLCompiler, **how: Any) -> str:
    return f"JSON_ARRAYAGG(JSON_ARRAY({compiler.process(element.clauses, **how)}))"


@compiles(row_array, "sqlite")
def _row_array_sqlite(element: row_array, compiler: SQLCompiler, **how: Any) -> str:
    return f"json_group_array(json_array({compiler.process(element.clauses, **how)}))"


def write_keys(keys: Iterable[int]) -> str:
    """Return the array for `key_in`."""
    return json.dumps(list(keys))


def read_rows(value: str | None) -> list[list[Any]]:
    """Return the rows of a `row_array`."""
    rows: list[list[Any]] = json.loads(value or "[]")
    return rows
