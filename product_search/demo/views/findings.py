"""Runs that look the whole catalog over, on their pages: the last, the next, and its progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import streamlit as st

from data_models import AuditRun, DuplicateRun
from product_search.demo import html
from product_search.demo.errors import show_errors
from product_search.demo.language import _

Run = AuditRun | DuplicateRun


class Survey(NamedTuple):
    """A kind of run: its words, and the API's calls for it."""

    key: str
    label: str  # of the button that starts one
    summary: Callable[[Run], str]  # of one that is done, as Markdown
    start: Callable[[], Run]
    newest: Callable[[], Run | None]


def show_survey(survey: Survey, last: Run | None, newest: Run | None) -> None:
    """When the last was and what it found, a button for another, and how far that is."""
    under_way = newest is not None and newest.is_under_way
    with st.container(
        key=f"{survey.key}_head",
        horizontal=True,
        vertical_alignment="center",
        horizontal_alignment="distribute",
    ):
        st.caption(_last_text(survey, last), width="content")
        pressed = st.button(
            survey.label,
            key=survey.key,
            icon=":material/play_arrow:",
            type="primary" if last is None else "secondary",
            disabled=under_way,
        )
    if pressed:
        with show_errors():
            survey.start()
            st.rerun()
    if under_way:
        _follow(survey)
    elif newest is not None and newest.state == "failed":
        failed = _("最近一次没有完成：{reason}")
        reason = html.plain(newest.error or _("原因不明"))
        st.error(failed.format(reason=reason), icon=":material/error:")


def _last_text(survey: Survey, last: Run | None) -> str:
    if last is None or last.finished_at is None:
        return _("还没有做过")
    when = _("最近一次：{when}").format(when=html.time_text(last.finished_at))
    return f"{when} · {survey.summary(last)}"


@st.fragment(run_every=1)
def _follow(survey: Survey) -> None:
    """How far the run is, each second; at its end the page shows what it found."""
    with show_errors():
        run = survey.newest()
        if run is None or not run.is_under_way:
            st.rerun()
        words = _("正在比较…") if run.state == "running" else _("正在排队…")
        seen = run.checked if isinstance(run, AuditRun) else run.products
        if seen:
            words = _("正在比较… 已看过 {count} 件").format(count=seen)
        st.html(f'<div class="ps-busy" role="status"><span></span>{words}</div>')


def afters(name: str) -> list[int]:
    """Where the pages of a run's findings begin, up to the one that is shown."""
    found: list[int] = st.session_state.setdefault(f"{name}_afters", [0])
    return found


def begin_anew_with_another(name: str, run: Run | None) -> None:
    """The places of another run's findings are others: back to its first page."""
    run_id = run.run_id if run is not None else None
    if st.session_state.setdefault(f"{name}_run", run_id) != run_id:
        st.session_state[f"{name}_run"] = run_id
        st.session_state[f"{name}_afters"] = [0]
        st.rerun()


def show_turn_buttons(name: str, next_after: int | None) -> None:
    """To the findings before, and to those that come next."""
    places = afters(name)
    with st.container(horizontal=True):
        if len(places) > 1:
            st.button(_("上一批"), key="previous", on_click=_turn_back, args=(places,))
        if next_after is not None:
            st.button(_("下一批"), key="next", on_click=places.append, args=(next_after,))


def _turn_back(places: list[int]) -> None:
    places.pop()
