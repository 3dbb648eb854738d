"""Numbers and tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def number(value: float | None, digits: int = 1) -> str:
    """Return the number as text, a dash for None."""
    return "–" if value is None else f"{value:,.{digits}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, and an empty one."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
    yield ""
