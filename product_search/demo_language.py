"""The language of the pages: Chinese as it is written in the code, English by the catalogue.

product_search/locale/en.po holds the English; tests/demo/test_languages.py tells what it lacks.
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
CATALOGUE = Path(__file__).with_name("locale") / "en.po"


def _(text: str) -> str:
    """The text in the visitor's language; values are put in afterwards, by `format`."""
    return _english().gettext(text) if language() == "en" else text


def N_(text: str) -> str:
    """A text that is shown later, by `_`: marked for the catalogue, and left as it is."""
    return text


def language() -> str:
    """A key of LANGUAGES."""
    chosen = st.session_state.get("lang")
    return chosen if chosen in LANGUAGES else "zh"


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
        bind="query-params",
        persist_state="session",
    )


@cache
def _english() -> gettext.GNUTranslations:
    with CATALOGUE.open("rb") as stream:
        catalogue = read_po(stream, locale="en")
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
