"""The figures of serving in both READMEs, between markers, from a run of `make bench`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.rig.contenders import MODES
from benchmarks.rig.figures import AFTERNOON, SERVICE, Figures
from benchmarks.rig.tables import number, table
from product_search.settings import ROOT

_BEGIN, _END = "<!-- make bench -->", "<!-- /make bench -->"


class _Words(NamedTuple):
    """What surrounds the figures, in one language."""

    head: tuple[str, ...]
    after: str


_WORDS = {
    "README.md": _Words(
        (
            "40 clients, no query twice",
            "searches a second",
            "p50, p95 ms",
            "over the afternoon's build",
            "over txtai",
            "of the ceiling",
            "one client, p50 ms",
            "over the afternoon's build",
        ),
        "Repeated traffic, 40 clients: {zipf} ms a search on average, {times} times the"
        " afternoon's build. A repeated query is encoded in {encode} ms. First answer {first} s"
        " after the start, with {memory} MB; before searches shared batches {first_before} s and"
        " {memory_before} MB.",
    ),
    "README.zh.md": _Words(
        (
            "40 个客户端，查询无重复",
            "每秒搜索",
            "p50、p95 毫秒",
            "为下午之作的倍数",
            "为 txtai 的倍数",
            "占上限",
            "1 个客户端，p50 毫秒",
            "为下午之作的倍数",
        ),
        "有重复的流量，40 个客户端：平均每次 {zipf} 毫秒，吞吐为下午之作的 {times} 倍。"
        "重复的查询编码用 {encode} 毫秒。启动后 {first} 秒给出第一个回答，占内存 {memory} MB；"
        "改为合批之前为 {first_before} 秒与 {memory_before} MB。",
    ),
}


def write(figures: Figures) -> None:
    """Write the figures into both READMEs, where their markers are."""
    for name, words in _WORDS.items():
        path = ROOT / name
        before, begin, rest = path.read_text("utf-8").partition(_BEGIN)
        _, end, after = rest.partition(_END)
        if not end:
            raise ValueError(f"{name} has no place for the figures")
        lines = "\n".join(_lines(figures, words))
        path.write_text(f"{before}{begin}\n{lines}\n{end}{after}", "utf-8")


def _lines(figures: Figures, words: _Words) -> Iterator[str]:
    rows = [_row(figures, mode) for mode in MODES]
    yield from table(words.head, rows)
    yield words.after.format(
        zipf=number(figures.median("mean_ms", SERVICE, list="zipf"), 0),
        times=number(figures.ratio(AFTERNOON, list="zipf")),
        encode=number(figures.median("encode_ms", SERVICE, list="repeated"), 2),
        first=number(figures.first_answer(SERVICE)),
        first_before=number(figures.first_answer("before")),
        memory=number(figures.memory(SERVICE, "at_rest"), 0),
        memory_before=number(figures.memory("before", "at_rest"), 0),
    )


def _row(figures: Figures, mode: str) -> tuple[str, ...]:
    crowd = {"list": "new", "mode": mode, "clients": 40}
    alone = crowd | {"clients": 1}
    p50, p95 = (figures.median(name, SERVICE, **crowd) for name in ("p50_ms", "p95_ms"))
    return (
        f"`{mode}`",
        number(figures.median("qps", SERVICE, **crowd), 0),
        f"{number(p50, 0)}, {number(p95, 0)}",
        number(figures.ratio(AFTERNOON, **crowd), 2),
        number(figures.ratio("txtai", **crowd), 2),
        number(figures.share(mode, 40), 2),
        number(figures.median("p50_ms", SERVICE, **alone)),
        number(figures.ratio(AFTERNOON, **alone), 2),
    )
