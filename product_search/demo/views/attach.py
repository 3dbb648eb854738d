"""A generated image becomes that of a product: which one, whether really, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import streamlit as st

from data_models import PictureOfGeneration, ProductOut
from product_search.client import ApiClient
from product_search.demo import html
from product_search.demo.errors import show_errors
from product_search.demo.language import _
from product_search.demo.navigation import open_in_catalog
from product_search.demo.views import duplicates, matching


@dataclass
class Attaching:
    """The image, and the product that shall have it once one is chosen."""

    picture: PictureOfGeneration
    product: ProductOut | None = None


def attach_button(picture: PictureOfGeneration, name: str, product_id: int | None) -> None:
    """Opens the question; the product that the image was generated for is offered at once."""
    st.button(
        _("用作商品图片…"),
        key=f"attach_{name}",
        icon=":material/add_photo_alternate:",
        width="stretch",
        on_click=_open,
        args=(picture, product_id),
    )


def _open(picture: PictureOfGeneration, product_id: int | None) -> None:
    st.session_state["attaching"], st.session_state["attached"] = Attaching(picture), None
    st.session_state["attaching_to"] = product_id


def _close() -> None:
    st.session_state["attaching"] = None


def show_attaching(client: ApiClient) -> None:
    """The question, while it is open; afterwards what was done, until something else is."""
    attached: ProductOut | None = st.session_state.get("attached")
    if attached is not None:
        _show_attached(attached)
    attaching: Attaching | None = st.session_state.get("attaching")
    if attaching is not None:
        icon = ":material/add_photo_alternate:"
        ask = st.dialog(_("用作商品图片"), width="medium", icon=icon, on_dismiss=_close)
        ask(_ask)(client, attaching)


def _show_attached(product: ProductOut) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="attached"):
        done = _("“{title}”现在用这张图片。").format(title=html.plain(product.title))
        st.success(done, icon=":material/check_circle:")
        if st.button(_("打开商品"), key="open_attached", icon=":material/open_in_new:"):
            open_in_catalog(product.product_id)


def _ask(client: ApiClient, attaching: Attaching) -> None:
    with show_errors():
        product_id: int | None = st.session_state.pop("attaching_to", None)
        if product_id is not None:
            attaching.product = client.get_product(product_id)
        if attaching.product is None:
            st.caption(_("给哪件商品？它现在的图片会被换下。"))
            choose = partial(setattr, attaching, "product")
            matching.offer_products(client, "attach", choose, with_image=False)
            return
        _confirm(client, attaching, attaching.product)


def _confirm(client: ApiClient, attaching: Attaching, product: ProductOut) -> None:
    st.markdown(f"**{html.plain(product.title)}**")
    left, right = st.columns(2, wrap=False)
    left.caption(_("现在的图片"))
    left.html(html.thumbnail_html(client, product, 256))
    right.caption(_("换成这张"))
    url = client.generated_image_url(attaching.picture, 256)
    right.html(html.image_html(url, _("生成的图片"), is_generated=True))
    other = partial(setattr, attaching, "product", None)
    st.caption(_("商品会标明图片是 AI 生成的。"))
    with st.container(horizontal=True):
        confirmed = st.button(_("用这张图片"), key="confirm_attach", type="primary")
        st.button(_("换一件商品"), key="other_product", on_click=other)
        if st.button(_("取消"), key="cancel_attach"):
            _close()
            st.rerun()
    if confirmed:
        values = {"generation": attaching.picture.model_dump()}
        st.session_state["attached"] = client.update_product(product.product_id, values)
        duplicates.product_or_none.clear()
        _close()
        st.rerun()
