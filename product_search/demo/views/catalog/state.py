"""State that the pieces of the catalog page share: the choice, the form, what was done last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import streamlit as st

from product_search.demo.service import known_labels, known_title


@dataclass(frozen=True)
class Notice:
    """What was done, or why not, as Markdown; with what of it failed, and products alike."""

    text: str
    is_error: bool = False
    problems: tuple[str, ...] = ()
    duplicates: tuple[int, ...] = ()


def chosen_ids() -> set[int]:
    """Return the product_ids that are chosen, on this page of the list and on others."""
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
    """Go back to a fresh list that shows the notice."""
    known_labels.clear()
    known_title.clear()
    close_form()
    st.session_state["deleting"] = st.session_state["bulk"] = None
    st.session_state["notice"] = notice
    st.rerun()
