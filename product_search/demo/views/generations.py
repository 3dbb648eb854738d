"""Generations: the progress of one, its images, those of the past, and an image for a product."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from html import escape

import streamlit as st

from data_models import (
    GeneratedImage,
    GenerationOut,
    GenerationQuery,
    PictureOfGeneration,
    ProductOut,
)
from product_search.client import ApiClient
from product_search.demo import html
from product_search.demo.errors import show_errors
from product_search.demo.language import _
from product_search.demo.navigation import open_in_catalog, open_search
from product_search.demo.operators import may
from product_search.demo.service import generated_image_url
from product_search.demo.views import runs
from product_search.demo.views.duplicates import product_or_none
from product_search.demo.views.insights import page_starts, show_turn_buttons
from product_search.demo.views.matching import offer_products

PAGE_SIZE = 12
_POLL_S = 1


@dataclass
class Attachment:
    """Generated image, and the product that shall have it once a product is chosen."""

    image: PictureOfGeneration
    product: ProductOut | None = None


def shown_generation_id() -> int | None:
    """Return the id of the generation to show: that of the address, else the last one."""
    given = st.query_params.get("generation")
    number: int | None = st.session_state.get("generation_shown")
    if given is not None and given != str(number):
        number = int(given) if given.isdecimal() and len(given) < 20 else None
        show_only(number)
    if number is not None:
        st.query_params["generation"] = str(number)
    return number


def show_only(generation_id: int | None) -> None:
    """Show this generation from now on, without what was said of another."""
    st.session_state["generation_shown"] = generation_id
    st.session_state["generation_problem"] = st.session_state["attached"] = None
    st.query_params.pop("generation", None)


# One generation


def show_generation(client: ApiClient, generation: GenerationOut) -> None:
    """Show a generation's progress, or its images."""
    if generation.is_under_way:
        _follow(client, generation.generation_id)
    elif generation.state == "failed":
        failed = _("没有生成：{reason}")
        reason = html.plain(generation.error or _("原因不明"))
        st.error(failed.format(reason=reason), icon=":material/error:")
    elif generation.state == "cancelled":
        st.info(_("已取消，没有留下图片。"), icon=":material/cancel:")
    else:
        _show_images(client, generation)
    with st.expander(_("实际用的提示与设置"), icon=":material/description:", key="how"):
        st.markdown(html.plain(generation.prompt))
        st.caption(" · ".join(_settings(generation)))


def _settings(generation: GenerationOut) -> list[str]:
    request = generation.request
    facts = [html.plain(generation.model)] if generation.model else []
    facts.append(f"{request.width} × {request.height}")
    if request.steps is not None:
        facts.append(_("{count} 步").format(count=request.steps))
    if request.guidance is not None:
        facts.append(_("贴近文字 {value}").format(value=f"{request.guidance:g}"))
    if request.negative_prompt:
        facts.append(_("不要：{words}").format(words=html.plain(request.negative_prompt)))
    return [*facts, html.time_text(generation.created_at)]


@st.fragment(run_every=_POLL_S)
def _follow(client: ApiClient, generation_id: int) -> None:
    """Show the progress each second; at its end the page shows the images."""
    with show_errors():
        progress = st.container()
        if may("cancel_generation"):
            _show_cancel_button(client, generation_id)
        generation = client.get_generation(generation_id)
        if not generation.is_under_way:
            st.rerun()
        with progress:
            _show_progress(client, generation)


def _show_cancel_button(client: ApiClient, generation_id: int) -> None:
    if st.button(_("取消生成"), key="cancel_generation", icon=":material/stop_circle:"):
        client.cancel_generation(generation_id)


def _show_progress(client: ApiClient, generation: GenerationOut) -> None:
    throughput = runs.throughput_of(generation.generation_id)
    if generation.state == "running":
        throughput.add(generation.step)
    words = _progress_text(generation, throughput.per_second)
    if generation.steps is None:
        st.html(f'<div class="ps-busy" role="status"><span></span>{escape(words)}</div>')
    else:
        st.progress(runs.share(generation.step, generation.steps) or 0.0, text=words)
    url = client.preview_url(generation)
    if url is not None:
        with st.container(key="generation_preview"):
            st.html(html.image_html(url, _("目前的样子"), is_generated=True))
    st.caption(_("可以离开这一页：生成在后台进行，完成后在“生成过的”里。"))


def _progress_text(generation: GenerationOut, rate: float | None) -> str:
    if generation.state == "queued":
        return _("排队中：前面的生成完成后开始")
    if generation.steps is None:
        return _("正在准备模型…")
    words = _("第 {step} / {steps} 步").format(step=generation.step, steps=generation.steps)
    if not rate:
        return words
    left = runs.duration((generation.steps - generation.step) / rate)
    return f"{words} · {_('约剩 {duration}').format(duration=left)}"


def _show_images(client: ApiClient, generation: GenerationOut) -> None:
    if generation.no_match:
        none = _("没有一张与文字相符。可以换个说法，或多生成几张。")
        st.warning(none, icon=":material/image_not_supported:")
    with st.container(key="results_generated"):
        for image in generation.pictures:
            key = f"{generation.generation_id}_{image.number}"
            with st.container(key=f"generated_{key}", gap="xsmall"):
                st.html(_card_html(client, generation, image))
                _show_buttons(client, generation, _reference(generation, image), key)


def _card_html(client: ApiClient, generation: GenerationOut, image: GeneratedImage) -> str:
    url = client.public_url(image.image_url, size=512)
    image_html = html.image_html(url, _wish(generation), is_generated=True)
    seed = _("种子 {seed}").format(seed=image.seed)
    fit = "" if image.score is None else html.fit_html(image.confidence, image.score)
    if image.fits is False:
        fit = f'<span class="ps-verdict ps-mismatch">{_("图文不符")}</span>{fit}'
    return (
        f'<div class="ps-card" role="article">{image_html}'
        f'<div class="ps-judgement">{fit}</div><div class="ps-labels">{seed}</div></div>'
    )


def _show_buttons(
    client: ApiClient, generation: GenerationOut, image: PictureOfGeneration, key: str
) -> None:
    with st.container(gap="xxsmall"):
        label, icon = _("用它找商品"), ":material/image_search:"
        if st.button(label, key=f"find_{key}", icon=icon, width="stretch"):
            open_search({"generation": f"{image.generation_id}-{image.number}"})
        if may("update_product"):
            _attach_button(image, key, generation.request.product_id)
        st.download_button(
            _("下载"),
            partial(client.get_generated_image, image),
            file_name=f"generated-{image.generation_id}-{image.number}.png",
            mime="image/png",
            key=f"download_{key}",
            icon=":material/download:",
            type="tertiary",
            width="stretch",
            on_click="ignore",
        )


def _reference(generation: GenerationOut, image: GeneratedImage) -> PictureOfGeneration:
    return PictureOfGeneration(generation_id=generation.generation_id, number=image.number)


def _wish(generation: GenerationOut) -> str:
    """Return what a person asked for; of a product alone, the API's prompt for it."""
    return generation.request.prompt or generation.prompt


# Generations of the past


def show_gallery(client: ApiClient, shown: int | None) -> None:
    """Show all generations, the newest first, a page at a time."""
    starts = page_starts("gallery")
    page = None
    with show_errors():
        page = client.list_generations(GenerationQuery(limit=PAGE_SIZE, before=starts[-1] or None))
    if page is None or (not page.items and len(starts) == 1):
        return
    st.subheader(_("生成过的"), anchor=False)
    with st.container(key="results_gallery"):
        for generation in page.items:
            _show_past(client, generation, is_shown=generation.generation_id == shown)
    show_turn_buttons("gallery", page.next_before)


def _show_past(client: ApiClient, generation: GenerationOut, *, is_shown: bool) -> None:
    number, wish = generation.generation_id, _wish(generation)
    state = _(runs.STATE_NAMES[generation.state])
    if generation.pictures:
        url = client.public_url(generation.pictures[0].image_url, size=256)
        image = html.image_html(url, wish, is_generated=True)
    else:
        image = f'<div class="ps-pic ps-none">{state}</div>'
    facts = [html.time_text(generation.created_at)]
    if len(generation.pictures) > 1:
        facts.append(_("{count} 张").format(count=len(generation.pictures)))
    with st.container(key=f"past_{number}", gap="xsmall"):
        st.html(
            f'<div class="ps-card" role="article">{image}'
            f'<div class="ps-title">{escape(wish)}</div>'
            f'<div class="ps-labels">{escape(" · ".join(facts))}</div></div>'
        )
        st.button(
            _("正在看") if is_shown else _("查看"),
            key=f"show_{number}",
            width="stretch",
            disabled=is_shown,
            on_click=show_only,
            args=(number,),
        )


# An image of a product


def _attach_button(image: PictureOfGeneration, key: str, product_id: int | None) -> None:
    """Show the button that opens the dialog, with the product of the generation, if any."""
    st.button(
        _("用作商品图片…"),
        key=f"attach_{key}",
        icon=":material/add_photo_alternate:",
        width="stretch",
        on_click=_open_attachment,
        args=(image, product_id),
    )


def _open_attachment(image: PictureOfGeneration, product_id: int | None) -> None:
    st.session_state["attaching"], st.session_state["attached"] = Attachment(image), None
    st.session_state["attaching_to"] = product_id


def _close_attachment() -> None:
    st.session_state["attaching"] = None


def show_attachment(client: ApiClient) -> None:
    """Show the open dialog; afterwards what was done, until another generation is shown."""
    attached: ProductOut | None = st.session_state.get("attached")
    if attached is not None:
        _show_attached(attached)
    attachment: Attachment | None = st.session_state.get("attaching")
    if attachment is not None:
        icon = ":material/add_photo_alternate:"
        title = _("用作商品图片")
        dialog = st.dialog(title, width="medium", icon=icon, on_dismiss=_close_attachment)
        dialog(_show_dialog)(client, attachment)


def _show_attached(product: ProductOut) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="attached"):
        done = _("“{title}”现在用这张图片。").format(title=html.plain(product.title))
        st.success(done, icon=":material/check_circle:")
        if st.button(_("打开商品"), key="open_attached", icon=":material/open_in_new:"):
            open_in_catalog(product.product_id)


def _show_dialog(client: ApiClient, attachment: Attachment) -> None:
    with show_errors():
        product_id: int | None = st.session_state.pop("attaching_to", None)
        if product_id is not None:
            attachment.product = client.get_product(product_id)
        if attachment.product is None:
            st.caption(_("给哪件商品？它现在的图片会被换下。"))
            choose = partial(setattr, attachment, "product")
            offer_products(client, "attach", choose, with_image=False)
            return
        _confirm_attachment(client, attachment, attachment.product)


def _confirm_attachment(client: ApiClient, attachment: Attachment, product: ProductOut) -> None:
    st.markdown(f"**{html.plain(product.title)}**")
    left, right = st.columns(2, wrap=False)
    left.caption(_("现在的图片"))
    left.html(html.thumbnail_html(client, product, 256))
    right.caption(_("换成这张"))
    url = generated_image_url(client, attachment.image, 256)
    right.html(html.image_html(url, _("生成的图片"), is_generated=True))
    choose_again = partial(setattr, attachment, "product", None)
    st.caption(_("商品会标明图片是 AI 生成的。"))
    with st.container(horizontal=True):
        is_confirmed = st.button(_("用这张图片"), key="confirm_attach", type="primary")
        st.button(_("换一件商品"), key="other_product", on_click=choose_again)
        if st.button(_("取消"), key="cancel_attach"):
            _close_attachment()
            st.rerun()
    if is_confirmed:
        values = {"generation": attachment.image.model_dump()}
        st.session_state["attached"] = client.update_product(product.product_id, values)
        product_or_none.clear()
        _close_attachment()
        st.rerun()
