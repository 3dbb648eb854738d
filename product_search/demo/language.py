"""The language of the pages: Chinese as it is written in the code, English by the catalog.

product_search/demo/locale/en.po holds the English; tests/demo/test_languages.py tells what is
missing.
"""

from __future__ import annotations

import gettext
import io
from functools import cache
from pathlib import Path

import streamlit as st
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LANGUAGES = {"zh": "中文", "en": "English"}
LABEL = "语言 / Language"
CATALOG = Path(__file__).with_name("locale") / "en.po"


def _(text: str) -> str:
    """The text in the visitor's language; values are put in afterwards, by `format`."""
    return _english().gettext(text) if language() == "en" else text


def N_(text: str) -> str:
    """A text that is shown later, by `_`: marked for the catalog, and left as it is."""
    return text


def language() -> str:
    """A key of LANGUAGES."""
    chosen = st.session_state.get("lang")
    return chosen if chosen in LANGUAGES else "zh"


def key(name: str) -> str:
    """For a widget whose options are shown in either language: a browser keeps the words it has.

    What is chosen goes over to the other language's widget.
    """
    return f"{name}_{language()}"


def show_language_switch() -> None:
    """The switch; the address keeps the choice, so that a shared link has it too."""
    st.segmented_control(
        LABEL,
        list(LANGUAGES),
        default="zh",
        required=True,
        format_func=LANGUAGES.__getitem__,
        key="lang",
        label_visibility="collapsed",
        on_change=_carry_over,
        bind="query-params",
        persist_state="session",
    )


def _carry_over() -> None:
    chosen = language()
    (left,) = LANGUAGES.keys() - {chosen}
    for name in [str(name) for name in st.session_state if str(name).endswith(f"_{left}")]:
        st.session_state[name.removesuffix(left) + chosen] = st.session_state[name]


@cache
def _english() -> gettext.GNUTranslations:
    with CATALOG.open("rb") as stream:
        catalog = read_po(stream, locale="en")
    compiled = io.BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
