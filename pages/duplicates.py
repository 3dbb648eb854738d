"""Products that seem to be there twice: side by side, to keep one and delete the others."""

from __future__ import annotations

import streamlit as st

from data_models import DuplicateRun, DuplicatesQuery
from product_search.client import ApiClient
from product_search.demo.errors import show_errors
from product_search.demo.language import _
from product_search.demo.navigation import begin_page
from product_search.demo.views.duplicates import show_deletion, show_groups
from product_search.demo.views.insights import (
    Insight,
    Run,
    page_starts,
    restart_with_run,
    show_insight,
    show_turn_buttons,
)

PAGE_SIZE = 10  # groups


def duplicates_page() -> None:
    """Show the last search for duplicates and its groups."""
    client, health = begin_page(_("查重"))
    if health is None:
        return
    st.caption(_("图片或标题看来是同一件商品的，放在一起比一比：留下一件，删掉多余的。"))
    starts = page_starts("duplicates")
    page = None
    with show_errors():
        page = client.get_duplicates(DuplicatesQuery(limit=PAGE_SIZE, after=starts[-1]))
    if page is None:
        return
    restart_with_run("duplicates", page.last)
    show_insight(_insight(client), page.last, page.newest)
    show_deletion()
    if page.last is None:
        words = _("查重会把目录里的商品两两比较，不改动任何商品。")
        st.info(words, icon=":material/content_copy:")
    elif not page.groups and len(starts) == 1 and page.next_after is None:
        st.success(_("没有重复的商品。"), icon=":material/task_alt:")
    else:
        show_groups(client, page)
        show_turn_buttons("duplicates", page.next_after)


def _insight(client: ApiClient) -> Insight:
    def newest() -> DuplicateRun | None:
        return client.get_duplicates(DuplicatesQuery(limit=1)).newest

    label = _("开始查重")
    start = client.find_duplicates
    return Insight("search_duplicates", "find_duplicates", label, _summary, start, newest)


def _summary(run: Run) -> str:
    assert isinstance(run, DuplicateRun)
    compared = _("比较了 {count} 件").format(count=run.products)
    return f"{compared} · {_('{count} 组重复').format(count=run.groups)}"


duplicates_page()
