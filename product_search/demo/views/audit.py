"""The audit: the catalog's products whose image and title disagree."""

from __future__ import annotations

from functools import partial
from html import escape

import streamlit as st

from data_models import AuditItem, AuditQuery, AuditRun
from product_search.client import ApiClient
from product_search.demo import html
from product_search.demo.errors import show_errors
from product_search.demo.language import _
from product_search.demo.navigation import show_open_button
from product_search.demo.views.insights import (
    Insight,
    Run,
    page_starts,
    restart_with_run,
    show_insight,
    show_turn_buttons,
)
from product_search.demo.views.matching import verdict_html

PAGE_SIZE = 20


def show_audit(client: ApiClient) -> None:
    """Show the last audit and a page of its products, the most suspicious first."""
    starts = page_starts("audit")
    page = None
    with show_errors():
        page = client.get_audit(AuditQuery(limit=PAGE_SIZE, after=starts[-1]))
    if page is None:
        return
    restart_with_run("audit", page.last)
    label = _("核查全部商品")
    insight = Insight(
        "audit", "start_audit", label, _summary, client.start_audit, partial(_newest, client)
    )
    show_insight(insight, page.last, page.newest)
    if page.last is None:
        st.info(
            _("核查会把每件商品的图片与标题比较一遍，不改动任何商品。"),
            icon=":material/fact_check:",
        )
    elif not page.items and len(starts) == 1:
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
        url = client.public_url(item.image_url, size=128)
        image = html.image_html(url, item.title, is_generated=item.image_generated)
        left.html(
            f'<div class="ps-row">{image}<div class="ps-judged">'
            f'<div class="ps-title">{escape(item.title)}</div>'
            f"{verdict_html(item)}</div></div>"
        )
        with right.container(horizontal_alignment="right"):
            show_open_button(item.product_id, f"edit_{item.product_id}")
