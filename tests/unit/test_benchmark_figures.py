from __future__ import annotations

from typing import Any

import pytest

from benchmarks.rig.figures import Figures, criteria


def load(contender: str, round_: int, qps: float, **more: Any) -> dict[str, Any]:
    about = {"list": "new", "mode": "text_to_text", "clients": 40} | more
    return about | {"contender": contender, "round": round_, "qps": qps, "p95_ms": 300.0}


def figures(*loads: dict[str, Any]) -> Figures:
    rates = {"text_to_text": 400.0}
    parts = [{"round": 0, "part": part, "rates": rates} for part in ("encoder", "store")]
    return Figures({"loads": loads, "parts": parts, "servers": {}, "failures": {}})


def test_a_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    measured = figures(
        load("service", 0, 100), load("afternoon", 0, 50),
        load("service", 1, 90), load("afternoon", 1, 30),
        load("service", 2, 80), load("afternoon", 2, 10),
    )  # fmt: skip
    assert measured.ratio("afternoon", mode="text_to_text") == 3.0


def test_the_ceiling_is_what_the_parts_do_one_after_another() -> None:
    bare = load("bare route", 0, 200, list="bare")
    measured = figures(load("service", 0, 70), bare)
    assert measured.ceiling("text_to_text") == pytest.approx(100.0)
    assert measured.share("text_to_text", 40) == pytest.approx(0.7)


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    measured = figures(load("service", 0, 100))
    assert {one.is_met for one in criteria(measured) if one.measured == "not measured"} == {None}
    assert measured.ratio("txtai") is None
