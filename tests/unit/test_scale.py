"""docs/scale.md has the tables that its script prints."""

from __future__ import annotations

import pytest

from benchmarks import scale_arithmetic
from product_search.settings import ROOT


@pytest.mark.parametrize("table", scale_arithmetic.tables())
def test_the_document_has_the_scripts_tables(table: str) -> None:
    assert table in (ROOT / "docs" / "scale.md").read_text("utf-8")


def test_each_step_of_ten_needs_ten_times_the_database() -> None:
    million, ten, hundred = (step.database_gb for step in scale_arithmetic.STEPS)
    assert ten / million == pytest.approx(10, rel=0.1)
    assert hundred / ten == pytest.approx(10, rel=0.01)
