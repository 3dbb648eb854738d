"""What the pieces of the catalog page share: the list's conditions, the choice, what was done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import streamlit as st

from data_models import MAX_TITLE, IndexStatus, ListSort
from product_search.client import ApiClient
from product_search.demo import html
from product_search.demo.inputs import label_or_none, price_inputs
from product_search.demo.language import N_, _, option_name, widget_key
from product_search.demo.service import known_labels, labels_or_none, product_title

SORT_NAMES = {
    ListSort.newest: N_("最新在前"),
    ListSort.oldest: N_("最早在前"),
    ListSort.price_asc: N_("价格从低到高"),
    ListSort.price_desc: N_("价格从高到低"),
}
_NO_FILTERS: dict[str, Any] = {
    "list_q": "",
    "list_category": None,
    "list_brand": None,
    "list_min_price": None,
    "list_max_price": None,
}
_STATUS = "list_status"  # one of the filters too, a widget for each language


@dataclass(frozen=True)
class Notice:
    """What was done, or why not, as Markdown; what of it failed, and what it is like."""

    text: str
    is_error: bool = False
    problems: tuple[str, ...] = ()
    duplicates: tuple[int, ...] = ()


def chosen() -> set[int]:
    """The product_ids that are chosen, on this page of the list and elsewhere."""
    ids: set[int] = st.session_state.setdefault("chosen", set())
    return ids


def close_form() -> None:
    """Forget the open form and what was typed there; the address names no product any more."""
    form = st.session_state.get("form")
    st.session_state["form"] = None
    st.query_params.pop("product", None)
    if form is not None:
        for key in [key for key in st.session_state if str(key).startswith(form.key(""))]:
            del st.session_state[key]


def finish(notice: Notice) -> NoReturn:
    """Back to a fresh list that says what was done."""
    known_labels.clear()
    product_title.clear()
    close_form()
    st.session_state["deleting"] = st.session_state["bulk"] = None
    st.session_state["notice"] = notice
    st.rerun()


def show_notice(client: ApiClient, open_product: Callable[[int], None]) -> None:
    """What was done last, until something else is."""
    notice: Notice | None = st.session_state.get("notice")
    if notice is None:
        return
    if notice.is_error:
        st.error(notice.text, icon=":material/error:")
    else:
        st.success(notice.text, icon=":material/check_circle:")
    if notice.problems:
        failed = _("{count} 件未能修改，仍保持选中：").format(count=len(notice.problems))
        lines = "\n".join(f"- {problem}" for problem in notice.problems)
        st.error(f"{failed}\n\n{lines}", icon=":material/error:")
    if notice.duplicates:
        with st.container(border=True, key="duplicates", gap="xsmall"):
            known = _("目录里已有相同的商品，点击查看：")
            st.markdown(f":material/content_copy: {known}")
            for product_id in notice.duplicates:
                title = product_title(client.base_url, product_id) or ""
                label = html.plain(f"{title} #{product_id}")
                name = f"duplicate_{product_id}"
                if st.button(label, key=name, type="tertiary", icon=":material/open_in_new:"):
                    open_product(product_id)
                    st.rerun()


def conditions(client: ApiClient) -> dict[str, Any]:
    """What the list is filtered and sorted by; a change of it starts at the first page."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="list_bar"):
        found: dict[str, Any] = {"q": _title_part(), "sort": _sort_input()}
    with st.sidebar:
        st.subheader(_("筛选"), anchor=False)
        labels = labels_or_none(client)
        found["category"] = _label_input(_("分类"), labels.categories, "list_category")
        found["brand"] = _label_input(_("品牌"), labels.brands, "list_brand")
        found["index_status"] = _status_input()
        found["min_price"], found["max_price"] = price_inputs("list")
        if is_filtered():
            label, icon = _("清除筛选"), ":material/filter_alt_off:"
            st.button(label, key="clear", icon=icon, on_click=clear_filters)
    if st.session_state.setdefault("listed", found) != found:
        st.session_state["listed"] = found
        st.session_state["list_page"] = 1
        st.session_state["notice"] = None
    return found


def is_filtered() -> bool:
    """Whether a filter is set."""
    return any(
        st.session_state.get(name) not in ("", None) for name in (*_NO_FILTERS, widget_key(_STATUS))
    )


def clear_filters() -> None:
    """List everything again."""
    st.session_state.update(_NO_FILTERS | {widget_key(_STATUS): None})


def _title_part() -> str | None:
    text = st.text_input(
        _("标题包含"),
        key="list_q",
        max_chars=MAX_TITLE,
        placeholder=_("按标题筛选"),
        icon=":material/search:",
        label_visibility="collapsed",
        persist_state="session",
    )
    return text or None


def _sort_input() -> ListSort:
    sort: ListSort = st.selectbox(
        _("排序"),
        list(SORT_NAMES),
        format_func=partial(option_name, SORT_NAMES),
        key=widget_key("list_sort"),
        filter_mode=None,
        label_visibility="collapsed",
        width=180,
        persist_state="session",
    )
    return sort


def _label_input(label: str, known: list[str], name: str) -> str | None:
    chosen_label = st.selectbox(
        label,
        known,
        index=None,
        key=name,
        accept_new_options=True,
        placeholder=_("不限，可选可输入"),
        persist_state="session",
    )
    return label_or_none(chosen_label)


def _status_input() -> IndexStatus | None:
    return st.selectbox(
        _("索引状态"),
        list(IndexStatus),
        index=None,
        format_func=partial(option_name, html.STATUS_NAMES),
        key=widget_key(_STATUS),
        placeholder=_("不限"),
        filter_mode=None,
        persist_state="session",
    )
