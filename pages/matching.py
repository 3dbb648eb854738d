"""Whether images and titles belong together: pairs of one's own, and the whole catalog's."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from html import escape
from typing import Any

import streamlit as st

from data_models import MAX_MATCHED, MAX_QUERY, AuditItem, AuditQuery, AuditRun, MatchPair
from product_search.client import ApiClient, ApiError, ApiUnreachable
from product_search.demo import html
from product_search.demo.errors import error_text, show_errors
from product_search.demo.language import N_, _, option_name
from product_search.demo.navigation import begin_page, open_in_catalog
from product_search.demo.views import matching
from product_search.demo.views.findings import (
    Run,
    Survey,
    afters,
    begin_anew_with_another,
    show_survey,
    show_turn_buttons,
)

TITLES, IMAGES, AUDIT = "titles", "pictures", "audit"
VIEWS = {TITLES: N_("一图多题"), IMAGES: N_("一题多图"), AUDIT: N_("核查清单")}
NOTES = {
    TITLES: N_("一张图片，几个标题：哪个标题说的是它？"),
    IMAGES: N_("一个标题，几张图片：哪张图片是它？"),
    AUDIT: N_("目录里图片与标题最不相符的商品，最可疑的在前。"),
}
PAGE_SIZE = 20
# A pair for each of the many, or what is wrong with which of them.
Answer = list[MatchPair] | dict[int, str]


def matching_page() -> None:
    """One of the three views."""
    client, health = begin_page(_("图文匹配"))
    if health is None:
        return
    view = st.segmented_control(
        _("比什么"),
        list(VIEWS),
        default=TITLES,
        required=True,
        format_func=partial(option_name, VIEWS),
        key="match_view",
        label_visibility="collapsed",
        persist_state="session",
    )
    st.caption(_(NOTES[view]))
    if view == TITLES:
        _titles_view(client)
    elif view == IMAGES:
        _images_view(client)
    else:
        _audit_view(client)


# An image with many titles


def _titles_view(client: ApiClient) -> None:
    left, right = st.columns([2, 3], gap="medium")
    with left:
        chosen = matching.chosen(TITLES)
        for candidate in chosen:
            with st.container(key="the_picture", gap="xsmall"):
                st.html(matching.image_html(client, candidate.given, 512))
                st.caption(html.plain(matching.name_of(candidate.given)))
                matching.remove_button(TITLES, candidate)
        if not chosen:
            matching.choose_images(client, TITLES, limit=1)
    with right:
        text = st.text_area(
            _("标题（每行一个）"),
            key="match_titles",
            height=150,
            placeholder=_("红色双肩包 大容量\n蓝色拉杆箱 20 寸\n…"),
            persist_state="session",
        )
        titles = [line.strip() for line in (text or "").splitlines() if line.strip()]
        _compare_button(TITLES)
        if not chosen or not titles:
            st.info(_("放入一张图片，写下几个标题，就能看到哪个相符。"), icon=":material/rule:")
            return
        values = {"image": chosen[0].as_image(), "texts": [{"text": title} for title in titles]}
        answer = _answer(client, TITLES, (chosen[0].number, *titles), values)
        if isinstance(answer, dict):
            lines = [_line_html(titles[place], _wrong_html(why)) for place, why in answer.items()]
        else:
            best = matching.best_first(answer)
            lines = [_line_html(titles[one], matching.verdict_html(answer[one])) for one in best]
        st.html(f'<ol class="ps-verdicts">{"".join(lines)}</ol>')


def _line_html(title: str, foot: str) -> str:
    return f'<li><div class="ps-title">{escape(title)}</div>{foot}</li>'


def _wrong_html(why: str) -> str:
    return f'<div class="ps-wrong">{escape(why)}</div>'


# A title with many images


def _images_view(client: ApiClient) -> None:
    left, right = st.columns([2, 3], gap="medium")
    with left:
        title = st.text_input(
            _("标题"),
            key="match_title",
            max_chars=MAX_QUERY,
            placeholder=_("例如：红色双肩包 大容量"),
            persist_state="session",
        )
        _compare_button(IMAGES)
        matching.choose_images(client, IMAGES, limit=MAX_MATCHED)
    with right:
        _show_images(client, (title or "").strip())


def _show_images(client: ApiClient, title: str) -> None:
    chosen = matching.chosen(IMAGES)
    answer: Answer = {}
    if not title or not chosen:
        words = _("写下一个标题，放入几张图片，就能看到哪张相符。")
        st.info(words, icon=":material/rule:")
    else:
        values = {"text": {"text": title}, "images": [one.as_image() for one in chosen]}
        asked = (title, *(candidate.number for candidate in chosen))
        answer = _answer(client, IMAGES, asked, values)
    order = range(len(chosen)) if isinstance(answer, dict) else matching.best_first(answer)
    with st.container(key="results_pictures"):
        for place in order:
            _show_candidate(client, chosen[place], _foot(answer, place))


def _foot(answer: Answer, place: int) -> str:
    if isinstance(answer, dict):
        return _wrong_html(answer[place]) if place in answer else ""
    return matching.verdict_html(answer[place])


def _show_candidate(client: ApiClient, candidate: matching.Candidate, foot: str) -> None:
    with st.container(key=f"candidate_{candidate.number}", gap="xsmall"):
        name = escape(matching.name_of(candidate.given))
        st.html(
            f'<div class="ps-card" role="article">'
            f"{matching.image_html(client, candidate.given)}"
            f'<div class="ps-labels">{name}</div>{foot}</div>'
        )
        matching.remove_button(IMAGES, candidate)


# Both


def _compare_button(view: str) -> None:
    """What was typed is compared as soon as it is left; the button also asks anew."""
    st.button(
        _("比对"),
        key=f"compare_{view}",
        type="primary",
        icon=":material/compare:",
        on_click=st.session_state.pop,
        args=(f"answer_{view}", None),
    )


def _answer(client: ApiClient, view: str, asked: Hashable, values: dict[str, Any]) -> Answer:
    """What the API says of them; asked once only, for as long as they are the same."""
    known = st.session_state.get(f"answer_{view}")
    if known is not None and known[0] == asked:
        pairs: list[MatchPair] = known[1]
        return pairs
    try:
        with st.spinner(_("正在比对…")):
            pairs = client.match(values).pairs
    except ApiError as error:
        wrong = _wrong_places(error)
        if not wrong:
            st.error(error_text(error), icon=":material/error:")
        return wrong
    except (ApiUnreachable, ValueError) as error:
        st.error(error_text(error), icon=":material/error:")
        return {}
    st.session_state[f"answer_{view}"] = (asked, pairs)
    return pairs


def _wrong_places(error: ApiError) -> dict[int, str]:
    """Of `texts.1.text` or `images.1`: the reason, by the place. Nothing if another is wrong."""
    wrong = {}
    for name, why in (error.body.fields or {}).items():
        place = name.split(".")[1:2]
        if not place or not place[0].isdecimal():
            return {}
        wrong[int(place[0])] = why
    return wrong


# The audit


def _audit_view(client: ApiClient) -> None:
    places = afters("audit")
    page = None
    with show_errors():
        page = client.get_audit(AuditQuery(limit=PAGE_SIZE, after=places[-1]))
    if page is None:
        return
    begin_anew_with_another("audit", page.last)
    survey = Survey(
        "audit", _("核查全部商品"), _summary, client.start_audit, partial(_newest, client)
    )
    show_survey(survey, page.last, page.newest)
    if page.last is None:
        st.info(
            _("核查会把每件商品的图片与标题比较一遍，不改动任何商品。"),
            icon=":material/fact_check:",
        )
    elif not page.items and len(places) == 1:
        st.success(_("没有可比较的商品，或都已改过。"), icon=":material/task_alt:")
    for item in page.items:
        _show_item(client, item)
    show_turn_buttons("audit", page.next_after)


def _newest(client: ApiClient) -> AuditRun | None:
    return client.get_audit(AuditQuery(limit=1)).newest


def _summary(run: Run) -> str:
    assert isinstance(run, AuditRun)
    parts = [_("比较了 {count} 件").format(count=run.checked)]
    if run.mismatched is not None:
        parts.append(_("{count} 件不符").format(count=run.mismatched))
    if run.skipped:
        parts.append(_("{count} 件尚未建立索引").format(count=run.skipped))
    return " · ".join(parts)


def _show_item(client: ApiClient, item: AuditItem) -> None:
    with st.container(border=True, key=f"audit_{item.product_id}"):
        left, right = st.columns([5, 1], vertical_alignment="center")
        url = client.image_url_by_id(item.product_id, 128)
        picture = html.image_html(url, item.title, is_generated=item.image_generated)
        left.html(
            f'<div class="ps-row">{picture}<div class="ps-judged">'
            f'<div class="ps-title">{escape(item.title)}</div>'
            f"{matching.verdict_html(item)}</div></div>"
        )
        with right.container(horizontal_alignment="right"):
            if st.button(_("编辑"), key=f"edit_{item.product_id}", icon=":material/edit:"):
                open_in_catalog(item.product_id)


matching_page()
