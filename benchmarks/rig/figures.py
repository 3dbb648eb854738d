"""Medians and ratios of what a run of benchmarks.serving has measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.rig.contenders import BARE

Entry = dict[str, Any]
SERVICE, AFTERNOON = "service", "afternoon"


@dataclass(frozen=True)
class Figures:
    """The figures of docs/benchmarks.json."""

    raw: Mapping[str, Any]

    @property
    def contenders(self) -> list[str]:
        """The names of those that were loaded with new queries, the service first."""
        new = (one["contender"] for one in self.raw["loads"] if one["list"] == "new")
        return list(dict.fromkeys(new))

    def loads(self, contender: str, **about: Any) -> list[Entry]:
        """Return the loads of a contender that were like this, in the order of the rounds."""
        return [
            one
            for one in self.raw["loads"]
            if one["contender"] == contender and all(one.get(k) == v for k, v in about.items())
        ]

    def median(self, name: str, contender: str, **about: Any) -> float | None:
        """Return the median over the rounds of one figure; None where nothing was measured."""
        values = [one[name] for one in self.loads(contender, **about) if one[name] is not None]
        return statistics.median(values) if values else None

    def ratio(self, peer: str, **about: Any) -> float | None:
        """Return the median over the rounds of the service's throughput over the peer's."""
        theirs = {one["round"]: one["qps"] for one in self.loads(peer, **about)}
        ratios = [
            one["qps"] / theirs[one["round"]]
            for one in self.loads(SERVICE, **about)
            if theirs.get(one["round"])
        ]
        return statistics.median(ratios) if ratios else None

    def part(self, part: str, mode: str) -> float | None:
        """Return the median of what a part alone does, in queries a second."""
        if part == "bare":
            return self.median("qps", BARE, mode=mode)
        rates = [one["rates"][mode] for one in self.raw["parts"] if one["part"] == part]
        return statistics.median(rates) if rates else None

    def ceiling(self, mode: str) -> float | None:
        """Return what the parts could do one after another, in queries a second."""
        parts = [self.part(part, mode) for part in ("encoder", "store", "bare")]
        known = [part for part in parts if part]
        return 1 / sum(1 / part for part in known) if len(known) == len(parts) else None

    def share(self, mode: str, clients: int) -> float | None:
        """Return the service's share of the ceiling."""
        ceiling = self.ceiling(mode)
        qps = self.median("qps", SERVICE, list="new", mode=mode, clients=clients)
        return qps / ceiling if qps and ceiling else None

    def first_answer(self, name: str) -> float | None:
        """Return the median of the seconds from a start to the first answer."""
        server = self.raw["servers"].get(name)
        return statistics.median(server["first_answer_s"]) if server else None

    def memory(self, name: str, when: str) -> float | None:
        """Return the MB of a server's own process, "at_rest" or "after" load."""
        memory = self.raw["servers"].get(name, {}).get(f"memory_{when}_mb")
        return memory["server"] if memory else None


@dataclass(frozen=True)
class Criterion:
    """What a measured figure should be; `is_met` is None where it was not measured."""

    what: str
    wanted: str
    measured: str
    is_met: bool | None


def criteria(figures: Figures) -> Iterator[Criterion]:
    """Yield what the service is to reach, and what it did."""
    yield from _crowd(figures)
    for peer in figures.contenders:
        if peer in ("afternoon", "txtai", "infinity"):
            yield from _alone(figures, peer)
    yield from _repeated(figures)
    yield from _start(figures)


def _crowd(figures: Figures) -> Iterator[Criterion]:
    about = {"list": "new", "clients": 40}
    for mode, least in (("text_to_text", 4.0), ("hybrid", 3.0), ("image_to_image", 1.5)):
        ratio = figures.ratio(AFTERNOON, mode=mode, **about)
        yield _at_least(f"{mode}, 40 clients, over the afternoon build", ratio, least, "x")
    ratio = figures.ratio("txtai", mode="text_to_text", **about)
    yield _at_least("text_to_text, 40 clients, over txtai", ratio, 1.2, "x")
    share = figures.share("text_to_text", 40)
    yield _at_least("text_to_text, 40 clients, share of the ceiling", share, 0.7, "")
    p95 = figures.median("p95_ms", SERVICE, mode="text_to_text", **about)
    qps = figures.median("qps", SERVICE, mode="text_to_text", **about)
    times = p95 / (40_000 / qps) if p95 and qps else None
    yield _at_most("text_to_text, 40 clients, p95 over 40 / throughput", times, 2.0, "x")


def _alone(figures: Figures, peer: str) -> Iterator[Criterion]:
    for mode in ("text_to_text", "text_to_image", "image_to_image", "hybrid"):
        ratio = figures.ratio(peer, list="new", clients=1, mode=mode)
        if ratio is not None:
            yield _at_least(f"{mode}, one client, over {peer}", ratio, 1.0, "x")


def _repeated(figures: Figures) -> Iterator[Criterion]:
    mean = figures.median("mean_ms", SERVICE, list="zipf")
    ratio = figures.ratio(AFTERNOON, list="zipf")
    known = mean is not None and ratio is not None
    yield Criterion(
        "text_to_text, 40 clients, repeated traffic: mean, or over the afternoon build",
        "≤ 100 ms or ≥ 5 x",
        f"{mean:.0f} ms, {ratio:.2f} x" if known else "not measured",
        (mean <= 100 or ratio >= 5) if mean is not None and ratio is not None else None,
    )
    encode = figures.median("encode_ms", SERVICE, list="repeated")
    yield _at_most("repeated query, encode stage", encode, 0.3, " ms")
    for mode in ("text_to_text", "text_to_image"):
        overhead = figures.median("overhead_ms", SERVICE, list="new", mode=mode, clients=1)
        yield _at_most(f"{mode}, p50 of a request less encode and recall", overhead, 4.0, " ms")


def _start(figures: Figures) -> Iterator[Criterion]:
    for what, most, own, former in (
        ("first answer", 1.0, figures.first_answer(SERVICE), figures.first_answer("before")),
        (
            "RSS after the first answer",
            0.6,
            figures.memory(SERVICE, "at_rest"),
            figures.memory("before", "at_rest"),
        ),
    ):
        share = own / former if own and former else None
        yield _at_most(f"{what}, over that of the earlier state", share, most, "x")


def _at_least(what: str, value: float | None, least: float, unit: str) -> Criterion:
    is_met = None if value is None else value >= least
    return Criterion(what, f"≥ {least:g}{unit}", _measured(value, unit), is_met)


def _at_most(what: str, value: float | None, most: float, unit: str) -> Criterion:
    is_met = None if value is None else value <= most
    return Criterion(what, f"≤ {most:g}{unit}", _measured(value, unit), is_met)


def _measured(value: float | None, unit: str) -> str:
    return "not measured" if value is None else f"{value:.2f}{unit}"
