"""Insights on their pages: the last run and the next, its progress, the pages of its findings."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import streamlit as st

from data_models import AuditRun, DuplicateRun
from product_search.demo import html
from product_search.demo.errors import show_errors
from product_search.demo.language import _
from product_search.demo.sign_in import allows

Run = AuditRun | DuplicateRun


class Insight(NamedTuple):
    """Kind of insight: its words, and the API's calls for it."""

    key: str
    operation: str  # that starts a run
    label: str  # of the button for it
    summary: Callable[[Run], str]  # of a run that is done, as Markdown
    start: Callable[[], Run]
    newest: Callable[[], Run | None]


def show_insight(insight: Insight, last: Run | None, newest: Run | None) -> None:
    """Show what the last run found, a button for the next, and the progress of the newest."""
    under_way = newest is not None and newest.is_under_way
    pressed = False
    with st.container(
        key=f"{insight.key}_head",
        horizontal=True,
        vertical_alignment="center",
        horizontal_alignment="distribute",
    ):
        st.caption(_last_text(insight, last), width="content")
        if allows(insight.operation, insight.label):
            pressed = st.button(
                insight.label,
                key=insight.key,
                icon=":material/play_arrow:",
                type="primary" if last is None else "secondary",
                disabled=under_way,
            )
    if pressed:
        with show_errors():
            insight.start()
            st.rerun()
    if under_way:
        _follow(insight)
    elif newest is not None and newest.state == "failed":
        failed = _("最近一次没有完成：{reason}")
        reason = html.plain(newest.error or _("原因不明"))
        st.error(failed.format(reason=reason), icon=":material/error:")


def _last_text(insight: Insight, last: Run | None) -> str:
    if last is None or last.finished_at is None:
        return _("还没有做过")
    when = _("最近一次：{when}").format(when=html.time_text(last.finished_at))
    return f"{when} · {insight.summary(last)}"


@st.fragment(run_every=1)
def _follow(insight: Insight) -> None:
    """Show the run's progress each second; at its end the page shows what it found."""
    with show_errors():
        run = insight.newest()
        if run is None or not run.is_under_way:
            st.rerun()
        words = _("正在比较…") if run.state == "running" else _("正在排队…")
        seen = run.checked if isinstance(run, AuditRun) else run.products
        if seen:
            words = _("正在比较… 已看过 {count} 件").format(count=seen)
        st.html(f'<div class="ps-busy" role="status"><span></span>{words}</div>')


def page_starts(name: str) -> list[int]:
    """Return the cursors at which the pages of a list begin, up to the shown page's."""
    found: list[int] = st.session_state.setdefault(f"{name}_afters", [0])
    return found


def restart_with_run(name: str, run: Run | None) -> None:
    """Go back to the first page once the findings are those of another run."""
    run_id = run.run_id if run is not None else None
    if st.session_state.setdefault(f"{name}_run", run_id) != run_id:
        st.session_state[f"{name}_run"] = run_id
        st.session_state[f"{name}_afters"] = [0]
        st.rerun()


def show_turn_buttons(name: str, next_after: int | None) -> None:
    """Show buttons to the page before and to the next."""
    starts = page_starts(name)
    with st.container(horizontal=True):
        if len(starts) > 1:
            st.button(_("上一批"), key="previous", on_click=_turn_back, args=(starts,))
        if next_after is not None:
            st.button(_("下一批"), key="next", on_click=starts.append, args=(next_after,))


def _turn_back(starts: list[int]) -> None:
    starts.pop()
