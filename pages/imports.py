"""The import page: a file, which of its columns are what, and how its import goes."""

from __future__ import annotations

import streamlit as st

from product_search.demo.language import _
from product_search.demo.navigation import begin_page
from product_search.demo.views.imports import (
    show_file,
    show_import,
    shown_import_id,
    style_uploader,
)


def imports_page() -> None:
    """Show the import that the address names, or the way to a new one."""
    client, health = begin_page(_("批量导入"))
    style_uploader()
    import_id = shown_import_id()
    with st.container(key="imports"):
        if import_id is None:
            show_file(client, is_up=health is not None)
        elif health is not None:
            show_import(client, import_id)


imports_page()
