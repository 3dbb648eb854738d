"""Runs as the pages show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from data_models import RunOut
from product_search.demo.views import runs
from product_search.demo.views.runs import Throughput


def test_a_throughput_is_told_once_something_was_done() -> None:
    throughput = Throughput()
    throughput.add(100)
    assert throughput.per_second is None
    throughput.add(100)
    assert throughput.per_second is None
    throughput.samples.clear()
    throughput.samples += [(10.0, 100), (14.0, 300)]
    assert throughput.per_second == 50


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "1 秒"), (59.4, "59 秒"), (95, "1 分 35 秒"), (7500, "2 小时 5 分")]
)
def test_a_duration_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert runs.duration(seconds) == said


def test_a_run_whose_end_is_not_known_has_a_bar_without_a_number() -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    run = RunOut(
        run_id=1,
        kind="map",
        state="running",
        subject="image_clip_vector",
        done=None,
        total=None,
        error=None,
        created_at=began,
        started_at=began,
        finished_at=None,
    )
    shown = runs.run_html(run)
    assert "目录图 · 图片内容" in shown
    assert "ps-unknown" in shown
    assert "aria-valuenow" not in shown
    failed = run.model_copy(
        update={
            "state": "failed",
            "error": "<b>断电</b>",
            "finished_at": began + timedelta(seconds=2),
        }
    )
    assert "&lt;b&gt;断电" in runs.run_html(failed)
    assert "用时 2 秒" in runs.run_html(failed)
