"""How a database runs the statements that a piece of work sends, as EXPLAIN says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event

PRIMARY = "PRIMARY"
_TABLES = ("product", "outbox_event")


@dataclass
class Plan:
    """How a statement is run: the indexes that it reads, and whether it sorts."""

    statement: str
    indexes: set[str] = field(default_factory=set)
    sorts: bool = False
    scans: bool = False  # all of a table, or all of an index


def plans_of(engine: Engine, work: Callable[[], object]) -> list[Plan]:
    """The plan of each SELECT that the work sends."""
    sent: list[tuple[str, Any]] = []

    def keep(_c: object, _cursor: object, statement: str, values: Any, *_rest: object) -> None:
        sent.append((statement, values))

    event.listen(engine, "before_cursor_execute", keep)
    try:
        work()
    finally:
        event.remove(engine, "before_cursor_execute", keep)
    selects = [
        (" ".join(statement.split()), values) for statement, values in sent if "SELECT" in statement
    ]
    return [_explained(engine, *select) for select in selects]


def _explained(engine: Engine, statement: str, values: Any) -> Plan:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            return _on_sqlite(connection, statement, values)
        mariadb = getattr(engine.dialect, "is_mariadb", False)
        explain = "EXPLAIN" if mariadb else "EXPLAIN FORMAT=TRADITIONAL"
        steps = connection.exec_driver_sql(f"{explain} {statement}", values).mappings().all()
    plan = Plan(statement)
    for step in steps:
        if step["key"]:
            plan.indexes.update(step["key"].split(","))  # several where MySQL intersects them
        plan.sorts |= "filesort" in (step["Extra"] or "")
        plan.scans |= step["table"] in _TABLES and step["type"] in ("ALL", "index")
    return plan


def _on_sqlite(connection: Connection, statement: str, values: Any) -> Plan:
    plan = Plan(statement)
    for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).mappings():
        detail: str = step["detail"]
        plan.sorts |= "TEMP B-TREE" in detail
        plan.scans |= detail.startswith(tuple(f"SCAN {table}" for table in _TABLES))
        if "INDEX ix_" in detail:
            plan.indexes.add(detail.partition("INDEX ")[2].split()[0])
        elif "USING INTEGER PRIMARY KEY" in detail or detail == "SCAN product":
            plan.indexes.add(PRIMARY)  # a table is its primary key's index
    return plan
