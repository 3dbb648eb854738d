"""The matching page: an image with titles, a title with images, and the match of each pair."""

from __future__ import annotations

import base64
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from html import escape
from typing import Any, NamedTuple

import streamlit as st

from data_models import (
    MAX_MATCHED,
    MAX_QUERY,
    MAX_TITLE,
    MatchPair,
    ProductListQuery,
    ProductOut,
    Verdict,
    is_blank,
)
from product_search.client import ApiClient, ApiError, ApiUnreachable
from product_search.demo import html
from product_search.demo.errors import error_text, show_errors
from product_search.demo.image_input import IMAGE_TYPES, MAX_MB, ImageInput
from product_search.demo.language import N_, _, option_name

TITLES, IMAGES = "titles", "pictures"
# A pair for each of the many, or what is wrong with which of them.
Answer = list[MatchPair] | dict[int, str]
_UPLOAD, _CATALOG = "upload", "catalogue"
_SOURCES = {_UPLOAD: N_("上传图片"), _CATALOG: N_("从目录里选")}
_FOUND = 6  # products that are offered


class ChosenImage(NamedTuple):
    """Chosen image, of a file or a product; its number is never used again."""

    number: int
    source: ImageInput | ProductOut

    def as_request(self) -> dict[str, Any]:
        """Return the image as the API takes it."""
        if isinstance(self.source, ProductOut):
            return {"product_id": self.source.product_id}
        return {"image_base64": base64.b64encode(self.source.content).decode("ascii")}


def _chosen_images(key: str) -> list[ChosenImage]:
    """Return the images that were chosen under this key; they outlive their widgets."""
    found: list[ChosenImage] = st.session_state.get(f"{key}_chosen", [])
    return found


def _image_inputs(client: ApiClient, key: str, limit: int) -> None:
    """Ask for images; with a limit of 1 a new image takes the place of the image before."""
    if len(_chosen_images(key)) >= limit > 1:
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
    """Ask for files, with a new uploader for each choice: a removed file must not come back."""
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
        _add(key, limit, ImageInput.of(file))
    st.session_state[f"{key}_uploads"] = number + 1
    st.rerun()


def offer_products(
    client: ApiClient, key: str, choose: Callable[[ProductOut], None], *, with_image: bool
) -> None:
    """Offer products by words of their titles, and call `choose` with the chosen product.

    Args:
        client: The client of the API.
        key: Prefix of the widgets' keys.
        choose: What to do with the chosen product.
        with_image: Whether a product without an image can't be chosen.

    Raises:
        ApiError, ApiUnreachable: As ApiClient does.
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
            with st.container(key=f"{key}_product_{product.product_id}", gap="xsmall"):
                st.html(html.card_html(client, product))
                is_disabled = with_image and product.image_url is None
                _choose_button(key, choose, product, is_disabled=is_disabled)


def _choose_button(
    key: str, choose: Callable[[ProductOut], None], product: ProductOut, *, is_disabled: bool
) -> None:
    st.button(
        _("选用"),
        key=f"{key}_choose_{product.product_id}",
        width="stretch",
        disabled=is_disabled,
        on_click=choose,
        args=(product,),
    )


def _add(key: str, limit: int, source: ImageInput | ProductOut) -> None:
    before = [] if limit == 1 else _chosen_images(key)
    if len(before) >= limit or any(source == other.source for other in before):
        return
    number = st.session_state.get(f"{key}_given", 0)
    st.session_state[f"{key}_given"] = number + 1
    st.session_state[f"{key}_chosen"] = [*before, ChosenImage(number, source)]


def _remove_button(key: str, image: ChosenImage) -> None:
    """Show a button that takes the image away again."""
    st.button(
        _("移除"),
        key=f"{key}_remove_{image.number}",
        icon=":material/close:",
        type="tertiary",
        on_click=_remove,
        args=(key, image.number),
    )


def _remove(key: str, number: int) -> None:
    kept = [image for image in _chosen_images(key) if image.number != number]
    st.session_state[f"{key}_chosen"] = kept


def _image_html(client: ApiClient, source: ImageInput | ProductOut, size: int = 256) -> str:
    """Return the image in a square."""
    if isinstance(source, ProductOut):
        return html.thumbnail_html(client, source, size)
    return f'<div class="ps-pic">{html.preview_html(source.content, source.name)}</div>'


def _image_name(source: ImageInput | ProductOut) -> str:
    """Return the product's title, or the file's name."""
    return source.title if isinstance(source, ProductOut) else source.name


def verdict_html(pair: MatchPair) -> str:
    """Return whether image and title match, and how sure that is."""
    fit = html.fit_html(pair.confidence, pair.score)
    if pair.verdict is None:
        return fit
    label = _("图文相符") if pair.verdict is Verdict.match else _("图文不符")
    badge = f'<span class="ps-verdict ps-{pair.verdict}">{label}</span>'
    return f'<div class="ps-judgement">{badge}{fit}</div>'


def _best_first(pairs: Sequence[MatchPair]) -> list[int]:
    """Return the places of the pairs, the best first."""
    return sorted(range(len(pairs)), key=[-pair.score for pair in pairs].__getitem__)


# An image with titles


def show_titles_view(client: ApiClient) -> None:
    """Compare an image with titles."""
    left, right = st.columns([2, 3], gap="medium")
    with left:
        chosen = _chosen_images(TITLES)
        for image in chosen:
            with st.container(key="the_picture", gap="xsmall"):
                st.html(_image_html(client, image.source, 512))
                st.caption(html.plain(_image_name(image.source)))
                _remove_button(TITLES, image)
        if not chosen:
            _image_inputs(client, TITLES, limit=1)
    with right:
        text = st.text_area(
            _("标题（每行一个）"),
            key="match_titles",
            height=150,
            placeholder=_("红色双肩包 大容量\n蓝色拉杆箱 20 寸\n…"),
            persist_state="session",
        )
        titles = [line.strip() for line in (text or "").splitlines() if line.strip()]
        _compare_button(TITLES)
        if chosen and titles:
            _show_titles(client, chosen[0], titles)
        else:
            st.info(_("放入一张图片，写下几个标题，就能看到哪个相符。"), icon=":material/rule:")


def _show_titles(client: ApiClient, image: ChosenImage, titles: list[str]) -> None:
    values = {"image": image.as_request(), "texts": [{"text": title} for title in titles]}
    answer = _answer(client, TITLES, (image.number, *titles), values)
    if isinstance(answer, dict):
        lines = [_line_html(titles[place], _error_html(why)) for place, why in answer.items()]
    else:
        best = _best_first(answer)
        lines = [_line_html(titles[one], verdict_html(answer[one])) for one in best]
    st.html(f'<ol class="ps-verdicts">{"".join(lines)}</ol>')


def _line_html(title: str, foot: str) -> str:
    return f'<li><div class="ps-title">{escape(title)}</div>{foot}</li>'


def _error_html(why: str) -> str:
    return f'<div class="ps-wrong">{escape(why)}</div>'


# A title with images


def show_images_view(client: ApiClient) -> None:
    """Compare a title with images."""
    left, right = st.columns([2, 3], gap="medium")
    with left:
        title = st.text_input(
            _("标题"),
            key="match_title",
            max_chars=MAX_QUERY,
            placeholder=_("例如：红色双肩包 大容量"),
            persist_state="session",
        )
        _compare_button(IMAGES)
        _image_inputs(client, IMAGES, limit=MAX_MATCHED)
    with right:
        _show_images(client, (title or "").strip())


def _show_images(client: ApiClient, title: str) -> None:
    chosen = _chosen_images(IMAGES)
    answer: Answer = {}
    if not title or not chosen:
        words = _("写下一个标题，放入几张图片，就能看到哪张相符。")
        st.info(words, icon=":material/rule:")
    else:
        values = {"text": {"text": title}, "images": [one.as_request() for one in chosen]}
        query = (title, *(image.number for image in chosen))
        answer = _answer(client, IMAGES, query, values)
    order = range(len(chosen)) if isinstance(answer, dict) else _best_first(answer)
    with st.container(key="results_pictures"):
        for place in order:
            _show_image(client, chosen[place], _foot(answer, place))


def _foot(answer: Answer, place: int) -> str:
    if isinstance(answer, dict):
        return _error_html(answer[place]) if place in answer else ""
    return verdict_html(answer[place])


def _show_image(client: ApiClient, image: ChosenImage, foot: str) -> None:
    with st.container(key=f"candidate_{image.number}", gap="xsmall"):
        name = escape(_image_name(image.source))
        st.html(
            f'<div class="ps-card" role="article">'
            f"{_image_html(client, image.source)}"
            f'<div class="ps-labels">{name}</div>{foot}</div>'
        )
        _remove_button(IMAGES, image)


# The match


def _compare_button(view: str) -> None:
    """Show the button that also compares anew; what was typed is compared as soon as it is left."""
    st.button(
        _("比对"),
        key=f"compare_{view}",
        type="primary",
        icon=":material/compare:",
        on_click=st.session_state.pop,
        args=(f"answer_{view}", None),
    )


def _answer(client: ApiClient, view: str, query: Hashable, values: dict[str, Any]) -> Answer:
    """Return the API's answer; it is asked once only, for as long as the query is the same."""
    known = st.session_state.get(f"answer_{view}")
    if known is not None and known[0] == query:
        pairs: list[MatchPair] = known[1]
        return pairs
    try:
        with st.spinner(_("正在比对…")):
            pairs = client.match(values).pairs
    except ApiError as error:
        errors = _errors_by_place(error)
        if not errors:
            st.error(error_text(error), icon=":material/error:")
        return errors
    except (ApiUnreachable, ValueError) as error:
        st.error(error_text(error), icon=":material/error:")
        return {}
    st.session_state[f"answer_{view}"] = (query, pairs)
    return pairs


def _errors_by_place(error: ApiError) -> dict[int, str]:
    """Return the reasons by place, as of `texts.1.text` or `images.1`; none for other fields."""
    errors = {}
    for name, why in (error.body.fields or {}).items():
        place = name.split(".")[1:2]
        if not place or not place[0].isdecimal():
            return {}
        errors[int(place[0])] = why
    return errors
