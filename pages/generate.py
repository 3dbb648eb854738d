"""Images from words, or for a product: enqueued, followed, compared with the words, and used."""

from __future__ import annotations

import streamlit as st

from data_models import GenerationOut
from product_search.client import ApiClient
from product_search.demo.errors import show_errors
from product_search.demo.language import _
from product_search.demo.navigation import begin_page
from product_search.demo.views.generation_form import show_form
from product_search.demo.views.generations import (
    show_attachment,
    show_gallery,
    show_generation,
    shown_generation_id,
)


def generate_page() -> None:
    """Show the form beside its outcome, and under both what was generated before."""
    client, health = begin_page(_("生成图片"))
    if health is None:
        return
    st.caption(_("写下想要的商品图片，最符合文字的排在前面。生成的图片不是照片，都有标记。"))
    generation_id = shown_generation_id()
    left, right = st.columns([2, 3], gap="large")
    with right:
        generation = _show_outcome(client, generation_id)
    with left:
        show_form(client, is_busy=generation is not None and generation.is_under_way)
    show_gallery(client, generation.generation_id if generation is not None else None)


def _show_outcome(client: ApiClient, generation_id: int | None) -> GenerationOut | None:
    show_attachment(client)
    problem: str | None = st.session_state.get("generation_problem")
    if problem is not None:
        st.error(problem, icon=":material/error:")
        return None
    if generation_id is None:
        st.info(_("这里会出现生成的图片。"), icon=":material/image:")
        return None
    with show_errors():
        generation = client.get_generation(generation_id)
        show_generation(client, generation)
        return generation
    return None


generate_page()
