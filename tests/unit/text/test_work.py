"""How much work a text is: in proportion to its length, whatever it says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from product_search.settings import Settings
from product_search.text.document import Described, document_terms
from product_search.text.negation import wish
from product_search.text.query import analyse
from product_search.text.synonyms import Synonyms
from product_search.text.understanding import find_prices

SYNONYMS = Synonyms(Settings(_env_file=None).synonyms_path)
LENGTH = 512
MOST = 2.2  # times the work that half of the text is: what grows with the square takes four times
UNITS = [
    "我",
    "有",
    "无线,",
    "保温杯，",
    "手机壳",
    "三吨",
    "ma",
    "1到",
    "a1 ",
    "不要红色，",
    "苹果手机 ",
]


def steps(work: Callable[[str], object], text: str) -> int:
    """How many instructions of Python the work takes, once what it keeps in mind is there."""
    work(text)
    count = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work(text)
    finally:
        sys.settrace(before)
    return count


def repeated(unit: str, length: int) -> str:
    return (unit * length)[:length]


def analyse_query(text: str) -> None:
    wish(text)
    find_prices(text)
    analyse(text, SYNONYMS)


def describe(text: str) -> None:
    document_terms(Described("书包", description=text))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("work", [analyse_query, describe])
def test_twice_the_text_is_twice_the_work(work: Callable[[str], object], unit: str) -> None:
    half = steps(work, repeated(unit, LENGTH // 2))
    assert steps(work, repeated(unit, LENGTH)) < MOST * half
