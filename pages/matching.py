"""Whether images and titles match: pairs of the visitor's own, and the whole catalog's."""

from __future__ import annotations

from functools import partial

import streamlit as st

from product_search.demo.language import N_, _, option_name
from product_search.demo.navigation import begin_page
from product_search.demo.views.audit import show_audit
from product_search.demo.views.matching import (
    IMAGES,
    TITLES,
    show_images_view,
    show_titles_view,
)

AUDIT = "audit"
VIEWS = {TITLES: N_("一图多题"), IMAGES: N_("一题多图"), AUDIT: N_("核查清单")}
NOTES = {
    TITLES: N_("一张图片，几个标题：哪个标题说的是它？"),
    IMAGES: N_("一个标题，几张图片：哪张图片是它？"),
    AUDIT: N_("目录里图片与标题最不相符的商品，最可疑的在前。"),
}


def matching_page() -> None:
    """Show the chosen view of the three."""
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
        show_titles_view(client)
    elif view == IMAGES:
        show_images_view(client)
    else:
        show_audit(client)


matching_page()
