"""What searches show, and the line and share that are fitted for it, on hits made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from product_search.evaluation.fitting import fit_line
from product_search.evaluation.measures.showing import Answer, Answers


def answer(confidences: list[float], fits: list[int], *, absent: bool = False) -> Answer:
    return Answer(np.array(confidences), np.array(fits, bool), any(fits), absent)


ANSWERS = Answers.join(
    [
        answer([0.9, 0.5, 0.2], [1, 1, 0]),
        answer([0.6, 0.5], [0, 1]),
        answer([0.1, 0.05], [0, 0], absent=True),
        answer([], [], absent=True),
    ]
)


def test_what_is_shown_is_counted_by_query() -> None:
    found = ANSWERS.showing(line=0.2, share=0.5)
    assert found.precision == pytest.approx((1 + 1 / 2) / 2)
    assert (found.recall, found.told_precision, found.told_recall, found.lost) == (1, 1, 1, 0)


def test_a_line_that_is_too_high_loses_queries_and_a_low_one_tells_nobody() -> None:
    high = ANSWERS.showing(line=0.7, share=0.0)
    assert high.lost == 0.5
    assert high.told_precision == pytest.approx(2 / 3)
    low = ANSWERS.showing(line=0.0, share=0.0)
    assert (low.lost, low.told_recall) == (0, 0.5)


def test_the_line_tells_those_without_a_match_and_loses_none() -> None:
    line, share = fit_line(ANSWERS)
    assert 0.1 < line <= 0.6
    assert ANSWERS.showing(line, share).told_recall == 1


def test_what_a_first_page_does_not_show_is_not_lost() -> None:
    deep = Answers.join([answer([0.9] * 10 + [0.1], [0] * 10 + [1]), answer([0.5], [1])])
    assert deep.within_a_page().has_match.tolist() == [False, True]
