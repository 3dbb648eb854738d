"""The language of the pages: Chinese as it is written in the code, English by a gettext catalog.

The English is in locale/en/LC_MESSAGES/demo.po. After a change of it run `make translations`,
which compiles demo.mo beside it; tests/demo/test_languages.py tells what is missing or stale.
"""

from __future__ import annotations

import gettext
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

LANGUAGES = {"zh": "中文", "en": "English"}
LABEL = "语言 / Language"
DOMAIN = "demo"
LOCALES = Path(__file__).with_name("locale")


def _(text: str) -> str:
    """Return the text in the visitor's language; values are put in afterwards, by `format`."""
    return _english().gettext(text) if language() == "en" else text


def N_(text: str) -> str:
    """Mark a text for the catalog and return it as it is; `_` translates it where it is shown."""
    return text


def option_name(names: Mapping[Any, str], option: Any) -> str:
    """Return an option's name in the visitor's language, for the `format_func` of a widget."""
    return _(names[option])


def language() -> str:
    """Return the visitor's language, a key of LANGUAGES."""
    chosen = st.session_state.get("lang")
    return chosen if chosen in LANGUAGES else "zh"


def widget_key(name: str) -> str:
    """Return the key, one a language, of a widget whose options are shown in either language.

    A browser keeps the options' words that it has; what is chosen goes over to the other
    language's widget.
    """
    return f"{name}_{language()}"


def show_language_switch() -> None:
    """Show the switch; the address keeps the choice, so that a shared link has it too."""
    st.segmented_control(
        LABEL,
        list(LANGUAGES),
        default="zh",
        required=True,
        format_func=LANGUAGES.__getitem__,
        key="lang",
        label_visibility="collapsed",
        on_change=_carry_choices_over,
        bind="query-params",
        persist_state="session",
    )


def _carry_choices_over() -> None:
    chosen = language()
    (left,) = LANGUAGES.keys() - {chosen}
    for name in [str(name) for name in st.session_state if str(name).endswith(f"_{left}")]:
        st.session_state[name.removesuffix(left) + chosen] = st.session_state[name]


@cache
def _english() -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, LOCALES, languages=["en"])
