"""docs/benchmarks.md, and the READMEs' figures, written from the figures in docs/ (JSON)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.rig import readme
from benchmarks.rig.contenders import INFINITY, MODES, TXTAI
from benchmarks.rig.figures import SERVICE, Figures, criteria
from benchmarks.rig.tables import number, table
from product_search.settings import ROOT

DOCUMENT = ROOT / "docs" / "benchmarks.md"
FIGURES = ROOT / "docs" / "benchmarks.json"
GROWTH = ROOT / "docs" / "benchmarks-growth.json"
_MET = {True: "yes", False: "**no**", None: "–"}
_MEASURES = ("qps", "mean_ms", "p50_ms", "p95_ms", "p99_ms")
_INTRODUCTION = """# Benchmarks

Written by `make bench` and `make bench-growth`; the figures are in `benchmarks.json` and
`benchmarks-growth.json` beside this file. Client, servers and stores share the machine's cores, so
ratios of one run say more than absolute figures. Every figure is the median of the rounds; every
ratio the median of the rounds' own ratios."""
_PEERS = f"""Peers, on the same rows, texts and weights:

- **afternoon**: benchmarks/afternoon.py, what a good engineer builds in an afternoon: BERT in
  PyTorch (float32) and the starter's image network inside a FastAPI route, Milvus Lite, one
  `SELECT … IN` on SQLite; hybrid is three legs one after another, joined by reciprocal rank. It
  answers ten hits with the service's own product fields.
- **txtai** ({TXTAI[0]}): its own index and its own API; it answers id, text and score.
- **infinity** ({INFINITY[0]}): encodes the query and searches nothing; it
  batches across requests.
- **before**: the service as it was before searches shared batches (another commit with BEFORE=…),
  on its own import of the same file; loaded by 40 clients, started as often as the others."""
_KEYS = " The service requires keys, and each request to it shows one."
_METHOD = """Queries are made from a committed vocabulary by a fixed seed; no stretch of load has a
query that came before, except *repeated traffic*: draws from 10,000 queries by Zipf's law
(exponent 1), of which none came before the stretch begins. Closed loop: 1, 8 or 40 clients, each
sending its next request when it has its answer. Open loop: requests at a fixed rate, latencies
counted from when a request was due. The ceiling of a mode is 1 / (1/encoder + 1/store + 1/bare
route): the service's encoder alone in batches of 32 (pictures 16), the store alone with 32 vectors
a call, and a FastAPI route that only returns an answer that is there already, all measured in the
same run."""


def write() -> None:
    """Write the document from the figures that there are."""
    lines = [_INTRODUCTION, ""]
    if FIGURES.exists():
        figures = Figures(json.loads(FIGURES.read_text("utf-8")))
        lines += _serving(figures)
        readme.write(figures)
    if GROWTH.exists():
        lines += _growth(json.loads(GROWTH.read_text("utf-8")))
    DOCUMENT.write_text("\n".join(lines).rstrip() + "\n", "utf-8")


def _serving(figures: Figures) -> Iterator[str]:
    made = figures.raw["made"]
    yield from made_on(made)
    yield from (
        f"{made['catalogue']['products']:,} products, {made['catalogue']['with_picture']:,} of them"
        f" with a picture; rounds: {made['rounds']}, {made['seconds']:g} s a stretch;"
        f" {made['minutes']:g} minutes in all.{_KEYS if made.get('keys') else ''}",
        "",
        _PEERS,
        "",
        _METHOD,
        "",
    )
    yield from ("## What was aimed at", "")
    rows = [(c.what, c.wanted, c.measured, _MET[c.is_met]) for c in criteria(figures)]
    yield from table(("what", "wanted", "measured", "met"), rows)
    for mode in MODES:
        yield from _mode(figures, mode)
    yield from _repeated(figures)
    yield from _open_loop(figures)
    yield from _servers(figures)
    yield from _failures(figures)


def made_on(made: Mapping[str, Any]) -> Iterator[str]:
    """Yield the machine and the versions that figures were made on."""
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    flags = ", ".join(made["flags"])
    yield f"{made['cpu']}, {made['cores']} cores ({flags}), {made['memory_gb']} GB of memory."
    yield f"Python {made['python']}; {versions}."
    yield ""


def _mode(figures: Figures, mode: str) -> Iterator[str]:
    yield from (f"## {mode}, no query twice", "")
    names = [name for name in figures.contenders if figures.loads(name, list="new", mode=mode)]
    rows = []
    for clients in (1, 8, 40):
        for name in names:
            about = {"list": "new", "mode": mode, "clients": clients}
            measured = [figures.median(one, name, **about) for one in _MEASURES]
            ratio = None if name == SERVICE else figures.ratio(name, **about)
            errors = sum(_errors(one) for one in figures.loads(name, **about))
            rows.append((clients, name, *map(number, measured), number(ratio, 2), errors))
    head = ("clients", "", "QPS", "mean ms", "p50", "p95", "p99", "service is × it", "errors")
    yield from table(head, rows)
    parts = {part: figures.part(part, mode) for part in ("encoder", "store", "bare")}
    said = ", ".join(f"{part} {number(rate)}" for part, rate in parts.items())
    shares = ", ".join(f"{number(figures.share(mode, n), 2)} with {n}" for n in (1, 8, 40))
    yield f"Ceiling {number(figures.ceiling(mode))} queries a second (alone: {said});"
    yield f"the service's share of it: {shares} clients."
    overhead = figures.median("overhead_ms", SERVICE, list="new", mode=mode, clients=1)
    yield f"A request less its encode and recall, one client: {number(overhead, 2)} ms."
    yield ""


def _repeated(figures: Figures) -> Iterator[str]:
    yield from ("## Repeated traffic: text_to_text, 40 clients", "")
    rows = []
    for name in figures.contenders:
        if figures.loads(name, list="zipf"):
            measured = [figures.median(one, name, list="zipf") for one in _MEASURES]
            ratio = None if name == SERVICE else figures.ratio(name, list="zipf")
            rows.append((name, *map(number, measured), number(ratio, 2)))
    yield from table(("", "QPS", "mean ms", "p50", "p95", "p99", "service is × it"), rows)
    encode = figures.median("encode_ms", SERVICE, list="repeated")
    whole = figures.median("p50_ms", SERVICE, list="repeated")
    yield f"The same query again and again, one client: encode {number(encode, 2)} ms of"
    yield f"{number(whole)} ms (medians)."
    yield ""


def _open_loop(figures: Figures) -> Iterator[str]:
    yield from ("## Open loop: text_to_text at fixed rates", "")
    rows = []
    for name in figures.contenders:
        rates = sorted({one["rate"] for one in figures.loads(name, list="open")})
        for rate in rates:
            about = {"list": "open", "rate": rate}
            measured = [figures.median(one, name, **about) for one in _MEASURES]
            errors = sum(_errors(one) for one in figures.loads(name, **about))
            rows.append((name, f"{rate:g}", *map(number, measured), errors))
    head = ("", "asked a second", "answered in time", "mean ms", "p50", "p95", "p99", "errors")
    yield from table(head, rows)
    yield "After a rate that a server can't keep up with, no higher one is tried."
    yield ""


def _servers(figures: Figures) -> Iterator[str]:
    yield from ("## Start and memory", "")
    rows = [
        (
            name,
            number(figures.first_answer(name)),
            *(number(figures.memory(name, when), 0) for when in ("at_rest", "after")),
            number(server["memory_at_rest_mb"]["milvus"], 0),
            ", ".join(f"{m} {hits:.1f}" for m, hits in server.get("hits_per_answer", {}).items()),
        )
        for name, server in figures.raw["servers"].items()
    ]
    head = ("", "first answer, s", "RSS then, MB", "after load", "Milvus Lite", "hits an answer")
    yield from table(head, rows)


def _failures(figures: Figures) -> Iterator[str]:
    for name, error in figures.raw["failures"].items():
        said = error.strip().splitlines()[-1].replace(str(ROOT), "…")
        yield f"- {name} failed: `{said}`"


def _growth(figures: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Growth", "")
    yield from made_on(figures["made"])
    sizes = figures["sizes"]
    head = ("products", "imported a second", "import's peak MB", "p50 ms by mode", "RSS MB")
    rows = [
        (
            f"{one['products']:,}",
            number(one["rows_per_s"], 0),
            number(one["import_peak_mb"], 0),
            ", ".join(f"{mode} {ms:.1f}" for mode, ms in one["p50_ms"].items()),
            number(one["memory_mb"]["server"], 0),
            number(one["memory_mb"]["milvus"], 0),
            ", ".join(f"{what} {mb:.0f}" for what, mb in one["disk_mb"].items()),
        )
        for one in sizes
    ]
    yield from table((*head, "Milvus Lite MB", "disk MB"), rows)
    yield "Fitted lines, for each further 100,000 products:"
    yield ""
    for what, slope in figures["slopes"].items():
        yield f"- {what}: {slope['base']:.1f} and {slope['per_100k']:+.1f}"


def _errors(load: Mapping[str, Any]) -> int:
    statuses: Mapping[str, int] = load["statuses"]
    return sum(count for status, count in statuses.items() if status not in ("200", "201"))
