"""The system page: how each part is, whether the stores agree, and the runs."""

from __future__ import annotations

import streamlit as st

from product_search.demo.language import _
from product_search.demo.navigation import begin_page
from product_search.demo.views.runs import POLL_S
from product_search.demo.views.system import is_busy, show_system


def system_page() -> None:
    """Show everything as a fragment that asks again every second while something is under way."""
    client, health = begin_page(_("系统"))
    if health is None:
        return
    with st.container(key="system"):
        st.fragment(show_system, run_every=POLL_S if is_busy() else None)(client)


system_page()
