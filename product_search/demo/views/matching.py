"""Pictures that are compared with titles: chosen by upload or from the catalog, and judged."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import streamlit as st

from data_models import MAX_TITLE, MatchPair, ProductListQuery, ProductOut, Verdict, is_blank
from product_search.client import ApiClient
from product_search.demo import html
from product_search.demo.errors import show_errors
from product_search.demo.image_input import IMAGE_TYPES, MAX_MB, ImageInput
from product_search.demo.language import N_, _, option_name

_UPLOAD, _CATALOG = "upload", "catalogue"
_SOURCES = {_UPLOAD: N_("上传图片"), _CATALOG: N_("从目录里选")}
_FOUND = 6  # products that are offered


class Candidate(NamedTuple):
    """A chosen image; its number is given once."""

    number: int
    given: ImageInput | ProductOut

    def as_image(self) -> dict[str, Any]:
        """As the API takes it."""
        if isinstance(self.given, ProductOut):
            return {"product_id": self.given.product_id}
        return {"image_base64": base64.b64encode(self.given.content).decode("ascii")}


def chosen(key: str) -> list[Candidate]:
    """The images that were chosen under this key; they outlive their widgets."""
    found: list[Candidate] = st.session_state.get(f"{key}_chosen", [])
    return found


def choose_images(client: ApiClient, key: str, limit: int) -> None:
    """Widgets to choose with: a single image takes the place of the one before."""
    if len(chosen(key)) >= limit > 1:
        st.caption(_("最多 {count} 张图片，已经满了。").format(count=limit))
        return
    source = st.segmented_control(
        _("图片从哪里来"),
        list(_SOURCES),
        default=_UPLOAD,
        required=True,
        format_func=partial(option_name, _SOURCES),
        key=f"{key}_source",
        label_visibility="collapsed",
        persist_state="session",
    )
    if source == _UPLOAD:
        _upload(key, limit)
    else:
        with show_errors():
            offer_products(client, key, partial(_add, key, limit), with_image=True)


def _upload(key: str, limit: int) -> None:
    """A new uploader for each choice: what was removed must not come back."""
    number = st.session_state.get(f"{key}_uploads", 0)
    files = st.file_uploader(
        _("图片"),
        type=IMAGE_TYPES,
        accept_multiple_files=True,
        key=f"{key}_upload_{number}",
        label_visibility="collapsed",
        max_upload_size=MAX_MB,
    )
    if not files:
        return
    for file in files:
        _add(key, limit, ImageInput(file.name, file.getvalue()))
    st.session_state[f"{key}_uploads"] = number + 1
    st.rerun()


def offer_products(
    client: ApiClient, key: str, choose: Callable[[ProductOut], None], *, with_image: bool
) -> None:
    """Products by words of their titles, each to be chosen; or only those that have an image.

    Raises as ApiClient does.
    """
    words = st.text_input(
        _("找商品"),
        key=f"{key}_words",
        max_chars=MAX_TITLE,
        placeholder=_("标题里的字，例如：书包"),
        type="search",
        label_visibility="collapsed",
        persist_state="session",
    )
    if is_blank(words):
        return
    products = client.list_products(ProductListQuery(q=words, page_size=_FOUND)).items
    if not products:
        st.caption(_("没有标题里有这些字的商品。"))
        return
    with st.container(key=f"found_{key}"):
        for product in products:
            number = product.product_id
            with st.container(key=f"{key}_product_{number}", gap="xsmall"):
                st.html(html.card_html(client, product))
                st.button(
                    _("选用"),
                    key=f"{key}_choose_{number}",
                    width="stretch",
                    disabled=with_image and product.image_url is None,
                    on_click=choose,
                    args=(product,),
                )


def _add(key: str, limit: int, given: ImageInput | ProductOut) -> None:
    before = [] if limit == 1 else chosen(key)
    if len(before) >= limit or any(given == other.given for other in before):
        return
    number = st.session_state.get(f"{key}_given", 0)
    st.session_state[f"{key}_given"] = number + 1
    st.session_state[f"{key}_chosen"] = [*before, Candidate(number, given)]


def remove_button(key: str, candidate: Candidate) -> None:
    """Takes the image away again."""
    st.button(
        _("移除"),
        key=f"{key}_remove_{candidate.number}",
        icon=":material/close:",
        type="tertiary",
        on_click=_remove,
        args=(key, candidate.number),
    )


def _remove(key: str, number: int) -> None:
    kept = [candidate for candidate in chosen(key) if candidate.number != number]
    st.session_state[f"{key}_chosen"] = kept


def image_html(client: ApiClient, given: ImageInput | ProductOut, size: int = 256) -> str:
    """The image in a square."""
    if isinstance(given, ProductOut):
        return html.thumbnail_html(client, given, size)
    return f'<div class="ps-pic">{html.preview_html(given.content, given.name)}</div>'


def name_of(given: ImageInput | ProductOut) -> str:
    """The product's title, or the file's name."""
    return given.title if isinstance(given, ProductOut) else given.name


def verdict_html(pair: MatchPair) -> str:
    """Whether image and title belong together, and how sure that is."""
    fit = html.fit_html(pair.confidence, pair.score)
    if pair.verdict is None:
        return fit
    label = _("图文相符") if pair.verdict is Verdict.match else _("图文不符")
    badge = f'<span class="ps-verdict ps-{pair.verdict}">{label}</span>'
    return f'<div class="ps-judgement">{badge}{fit}</div>'


def best_first(pairs: Sequence[MatchPair]) -> list[int]:
    """The places of the pairs in their order."""
    return sorted(range(len(pairs)), key=lambda place: -pairs[place].score)
