"""Calibrations: found by their fingerprint, refused where they are another's, monotone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from product_search.errors import StartError
from product_search.evaluation.measures.confidence import reliability
from product_search.search.calibration import FORM, Calibration, Calibrations, Curve, curve_name

CURVE = Curve(coefficients={"a": 2.0, "b": 1.0}, intercept=-1.0, line=0.3, share=0.5)
MADE = Calibration(form=FORM, fingerprint="f" * 12, curves={"a+b": CURVE})


def test_a_curve_is_found_by_the_legs_that_it_was_fitted_for() -> None:
    assert MADE.curve(frozenset({"b", "a"})) is CURVE
    assert MADE.curve(frozenset({"a"})) is None
    assert curve_name(frozenset({"b", "a"})) == "a+b"


def test_a_confidence_is_the_logistic_of_the_weighted_sum() -> None:
    assert CURVE.confidence({"a": 0.5, "b": 0.0}) == 0.5
    assert CURVE.confidence({"a": 1.0, "b": 1.0}) == pytest.approx(0.8808, abs=1e-4)


@pytest.mark.parametrize(("best", "least"), [(0.9, 0.45), (0.3, 0.15), (0.1, 0.3)])
def test_what_fits_is_not_far_below_the_best_which_reaches_the_line(
    best: float, least: float
) -> None:
    assert CURVE.least(np.array([0.05, best, 0.02])) == pytest.approx(least)
    assert CURVE.least(np.zeros(0)) == CURVE.line


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_confidence_is_a_probability_and_rises_with_the_score(low: float, high: float) -> None:
    one, other = sorted((low, high))
    found = [CURVE.confidence({"a": value, "b": 0.0}) for value in (one, other)]
    assert 0 <= found[0] <= found[1] <= 1


def test_the_first_folder_that_has_it_counts(tmp_path: Path) -> None:
    mine, shipped = tmp_path / "mine", tmp_path / "shipped"
    for folder in (mine, shipped):
        folder.mkdir()
    (shipped / f"{MADE.fingerprint}.json").write_text(MADE.model_dump_json())
    calibrations = Calibrations(mine, shipped)
    assert calibrations.find(MADE.fingerprint) == MADE
    other = MADE.model_copy(update={"ramps": {"text_to_text": (0.3, 0.5)}})
    (mine / f"{MADE.fingerprint}.json").write_text(other.model_dump_json())
    assert calibrations.find(MADE.fingerprint) == other
    assert calibrations.find("0" * 12) == Calibration(fingerprint="0" * 12)


def test_what_another_release_fitted_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine, shipped = tmp_path / "mine", tmp_path / "shipped"
    for folder, form in ((mine, FORM - 1), (shipped, FORM)):
        folder.mkdir()
        fitted = MADE.model_copy(update={"form": form})
        (folder / f"{MADE.fingerprint}.json").write_text(fitted.model_dump_json())
    assert Calibrations(mine, shipped).find(MADE.fingerprint) == MADE
    assert "重新校准" in caplog.text
    assert Calibrations(mine).find(MADE.fingerprint).curves == {}


@pytest.mark.parametrize("content", ["", "{}", '{"fingerprint": "0"}', "[]"])
def test_a_damaged_file_or_anothers_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "abc.json").write_text(content)
    with pytest.raises(StartError, match="校准文件"):
        Calibrations(tmp_path).find("abc")


def test_what_is_well_calibrated_has_no_error() -> None:
    sure = reliability([1.0] * 4 + [0.0] * 4, [True] * 4 + [False] * 4)
    assert (sure.brier, sure.error) == (0, 0)
    even = reliability([0.5] * 10, [True, False] * 5)
    assert (even.brier, even.error, len(even.bins)) == (0.25, 0, 1)
    wrong = reliability([0.95] * 10, [False] * 10)
    assert wrong.error == pytest.approx(0.95)
