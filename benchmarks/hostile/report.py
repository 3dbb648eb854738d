"""docs/hostile.md, written from the figures in docs/hostile.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.hostile.stand import ALONE_S, PRODUCTS, RATE
from benchmarks.rig.report import made_on
from benchmarks.rig.tables import number, table
from product_search.settings import ROOT

DOCUMENT = ROOT / "docs" / "hostile.md"
FIGURES = ROOT / "docs" / "hostile.json"
STATES = ("before", "after")
MOST_TIMES, MOST_MB = 3.0, 2048.0  # of a search's usual p95, and above memory at rest
_MOST_FAILED = 0.05  # of the searches: with more there is no 95th percentile
_INTRODUCTION = f"""# Hostile loads

Written by `make hostile`; the figures are in `hostile.json` beside this file. Each row has a fresh
service on {PRODUCTS:,} products, which is searched {RATE:g} times a second by plain texts, each
with a latency that counts from when it was due: first alone for {ALONE_S:g} s, then while it is
attacked. Memory is the most that the service and its Milvus Lite held together, less what they
held at rest. Attacker, searchers, service and stores share the machine's cores, so the ratio says
more than the milliseconds; *busy* is the machine's load average before a row, of what else it did.
Aimed at: a p95 of at most {MOST_TIMES:g} times its usual, and at most
{MOST_MB / 1024:g} GB above rest."""


def merged(entries: Sequence[Mapping[str, Any]], made: Mapping[str, Any]) -> dict[str, Any]:
    """Return all figures: what was measured now in place of what was measured before."""
    old = json.loads(FIGURES.read_text("utf-8"))["rows"] if FIGURES.exists() else []
    fresh = {(one["row"], one["state"]) for one in entries}
    kept = [one for one in old if (one["row"], one["state"]) not in fresh]
    return {"made": dict(made), "rows": [*kept, *entries]}


def write(figures: Mapping[str, Any], order: Sequence[str]) -> None:
    """Write the figures and the document; the rows come in this order."""
    rows = sorted(
        figures["rows"], key=lambda one: (order.index(one["row"]), STATES.index(one["state"]))
    )
    text = json.dumps({**figures, "rows": rows}, ensure_ascii=False, indent=1)
    FIGURES.write_text(text + "\n", "utf-8")
    lines = [_INTRODUCTION, "", *made_on(figures["made"]), *_searches(rows), *_answers(rows)]
    DOCUMENT.write_text("\n".join(lines).rstrip() + "\n", "utf-8")


def _searches(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from ("## A plain search, and memory", "")
    head = (
        "tried",
        "",
        "p50 / p95 alone, ms",
        "attacked, ms",
        "p95 ×",
        "failed",
        "MB above rest",
        "busy",
    )
    yield from table(head, [_figures(one) for one in rows])


def _figures(one: Mapping[str, Any]) -> tuple[object, ...]:
    alone, under = one["alone"], one["under"]
    times = ratio(one)
    shown = "–" if times is None else f"{times:.1f}"
    return (
        one["tried"],
        state_of(one),
        f"{number(alone['p50_ms'], 0)} / {number(p95(alone), 0)}",
        f"{number(under['p50_ms'], 0)} / {number(p95(under), 0)}",
        shown if times is not None and times <= MOST_TIMES else f"**{shown}**",
        failed(under),
        number(one["extra_mb"], 0) if one["extra_mb"] <= MOST_MB else f"**{one['extra_mb']:,.0f}**",
        number(one.get("load_average")),
    )


def state_of(one: Mapping[str, Any]) -> str:
    """Return before, with its commit, or after."""
    return f"before ({one['commit']})" if one["state"] == "before" else "after"


def failed(load: Mapping[str, Any]) -> int:
    """Return how many searches had no good answer."""
    statuses: Mapping[str, int] = load["statuses"]
    return sum(count for status, count in statuses.items() if status != "200")


def p95(load: Mapping[str, Any]) -> float | None:
    """Return the 95th percentile; None where so many searches failed that there is none."""
    share = failed(load) / max(1, sum(load["statuses"].values()))
    return None if share > _MOST_FAILED else float(load["p95_ms"])


def ratio(one: Mapping[str, Any]) -> float | None:
    """Return the p95 under attack over that alone; None where either is missing."""
    alone, under = p95(one["alone"]), p95(one["under"])
    return under / alone if alone and under else None


def _answers(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from ("## What the hostile requests were answered, and what people saw", "")
    for one in rows:
        told = ", ".join(f"{status} × {count}" for status, count in sorted(one["answers"].items()))
        yield f"- {one['tried']}, {state_of(one)}"
        if told:
            yield f"  - answered {told}; the slowest after {number(one['longest_s'])} s"
        yield from (f"  - {line}" for line in one["seen"])
    yield ""
