"""Runs as the pages show them: name, state, progress, and the time that is left."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from data_models import RunOut, VectorField
from product_search.demo.language import N_, _

POLL_S = 1.0
KIND_NAMES = {
    "import": N_("导入"),
    "local_import": N_("命令行导入"),
    "reindex": N_("换编码器"),
    "doctor": N_("核对"),
    "duplicates": N_("查重"),
    "audit": N_("图文核查"),
    "map": N_("目录图"),
    "generate": N_("图片生成"),
}
STATE_NAMES = {
    "queued": N_("排队中"),
    "running": N_("进行中"),
    "done": N_("已完成"),
    "failed": N_("失败"),
    "cancelled": N_("已取消"),
}
_FIELD_NAMES = {
    VectorField.image_clip: N_("图片内容"),
    VectorField.text_clip: N_("标题与图片"),
    VectorField.text_bge: N_("标题意思"),
}
_PRODUCTS = N_("{done} / {total} 件"), N_("{done} 件")
_ROWS = N_("{done} / {total} 行"), N_("{done} 行")
_COUNTED = {
    "import": _ROWS,
    "local_import": _ROWS,
    "generate": (N_("{done} / {total} 步"), N_("{done} 步")),
}
_DROPS = N_("删除旧集合")
_REPAIRS = N_("核对并修复")
# Long enough to even out batches, short enough to follow a change of speed.
_SAMPLES = 30


@dataclass
class Throughput:
    """How much of a run was done at which moments, as a visitor's page has seen it."""

    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_SAMPLES))

    def add(self, done: int) -> None:
        """Record how much is done now."""
        self.samples.append((time.monotonic(), done))

    @property
    def per_second(self) -> float | None:
        """Return how much is done in a second; None before that can be told."""
        if len(self.samples) < 2:
            return None
        (began, first), (now, last) = self.samples[0], self.samples[-1]
        return (last - first) / (now - began) if now > began and last > first else None


def throughput_of(run_id: int) -> Throughput:
    """Return the throughput of the run that the page shows; another run starts anew."""
    kept: tuple[int, Throughput] | None = st.session_state.get("pace")
    if kept is None or kept[0] != run_id:
        kept = st.session_state["pace"] = (run_id, Throughput())
    return kept[1]


def share(done: int | None, total: int | None) -> float | None:
    """Return how much is done, from 0 to 1; None where that is not known."""
    if done is None or total is None:
        return None
    return min(1.0, done / total) if total else 1.0


def duration(seconds: float) -> str:
    """Return a duration as people say it, in two units at most."""
    whole = max(1, round(seconds))
    if whole < 60:
        return _("{count} 秒").format(count=whole)
    if whole < 3600:
        return _("{minutes} 分 {seconds} 秒").format(minutes=whole // 60, seconds=whole % 60)
    return _("{hours} 小时 {minutes} 分").format(hours=whole // 3600, minutes=whole % 3600 // 60)


def exact_time_text(moment: datetime) -> str:
    """Return the moment to the second in the visitor's time zone, where the browser tells it."""
    zone = None
    if st.context.timezone:
        try:
            zone = ZoneInfo(st.context.timezone)
        except (ZoneInfoNotFoundError, ValueError):  # the browser's word
            zone = None
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def run_name(run: RunOut) -> str:
    """Return what the run does, and on what."""
    if run.kind == "doctor":
        return _(_REPAIRS) if run.subject == "repair" else _(KIND_NAMES[run.kind])
    if run.kind == "reindex" and run.subject is None:
        return _(_DROPS)
    name, subject = _(KIND_NAMES[run.kind]), run.subject
    if run.kind == "map" and subject in _FIELD_NAMES:
        subject = _(_FIELD_NAMES[VectorField(subject)])
    return f"{name} · {subject}" if subject else name


def run_html(run: RunOut) -> str:
    """Return a run's name and state, a bar while it is under way, and when it was."""
    state = f'<span class="ps-badge ps-state-{run.state}">{_(STATE_NAMES[run.state])}</span>'
    facts = [text for text in (_count_text(run), _when_text(run)) if text]
    error = f'<div class="ps-status ps-failed">{escape(run.error)}</div>' if run.error else ""
    return (
        f'<div class="ps-run"><div class="ps-run-head">'
        f'<span class="ps-title">{escape(run_name(run))}</span>{state}</div>'
        f"{_bar_html(run) if run.is_under_way else ''}"
        f'<div class="ps-labels">{escape(" · ".join(facts))}</div>{error}</div>'
    )


def _bar_html(run: RunOut) -> str:
    """Return a progress bar, which only moves where the progress is not known."""
    done, label = share(run.done, run.total), escape(run_name(run), quote=True)
    if done is None:
        return f'<div class="ps-bar ps-unknown" role="progressbar" aria-label="{label}"></div>'
    return (
        f'<div class="ps-bar" role="progressbar" aria-label="{label}" aria-valuemin="0"'
        f' aria-valuemax="100" aria-valuenow="{100 * done:.0f}">'
        f'<span style="width:{done:.1%}"></span></div>'
    )


def _count_text(run: RunOut) -> str | None:
    if run.done is None:
        return None
    partly, whole = _COUNTED.get(run.kind, _PRODUCTS)
    if run.total is not None and run.is_under_way:
        return _(partly).format(done=f"{run.done:,}", total=f"{run.total:,}")
    return _(whole).format(done=f"{run.done:,}")


def _when_text(run: RunOut) -> str:
    began = exact_time_text(run.started_at or run.created_at)
    if run.started_at is None or run.finished_at is None:
        return began
    took = duration((run.finished_at - run.started_at).total_seconds())
    return _("{moment}，用时 {duration}").format(moment=began, duration=took)
