"""Generations as their page shows them: how far one is, its images, and those of the past."""

from __future__ import annotations

from functools import partial
from html import escape

import streamlit as st

from data_models import GeneratedImage, GenerationOut, GenerationQuery, PictureOfGeneration
from product_search.client import ApiClient
from product_search.demo import html
from product_search.demo.errors import show_errors
from product_search.demo.language import _
from product_search.demo.navigation import open_search
from product_search.demo.views import runs
from product_search.demo.views.attach import attach_button
from product_search.demo.views.findings import afters, show_turn_buttons

PAGE_SIZE = 12
_POLL_S = 1


def show_id() -> int | None:
    """The generation that is shown: that of the address, else the one before."""
    given = st.query_params.get("generation")
    number: int | None = st.session_state.get("generation_shown")
    if given is not None and given != str(number):
        number = int(given) if given.isdecimal() and len(given) < 20 else None
        show(number)
    if number is not None:
        st.query_params["generation"] = str(number)
    return number


def show(generation_id: int | None) -> None:
    """Another generation is shown from now on."""
    st.session_state["generation_shown"] = generation_id
    st.session_state["generation_problem"] = st.session_state["attached"] = None
    st.query_params.pop("generation", None)


# One generation


def show_generation(client: ApiClient, found: GenerationOut) -> None:
    """How far it is, or what has come of it."""
    if found.is_under_way:
        _follow(client, found.generation_id)
    elif found.state == "failed":
        failed = _("没有生成：{reason}")
        reason = html.plain(found.error or _("原因不明"))
        st.error(failed.format(reason=reason), icon=":material/error:")
    elif found.state == "cancelled":
        st.info(_("已取消，没有留下图片。"), icon=":material/cancel:")
    else:
        _show_images(client, found)
    with st.expander(_("实际用的提示与设置"), icon=":material/description:", key="how"):
        st.markdown(html.plain(found.prompt))
        st.caption(" · ".join(_settings(found)))


def _settings(found: GenerationOut) -> list[str]:
    asked = found.request
    facts = [html.plain(found.model)] if found.model else []
    facts.append(f"{asked.width} × {asked.height}")
    if asked.steps is not None:
        facts.append(_("{count} 步").format(count=asked.steps))
    if asked.guidance is not None:
        facts.append(_("贴近文字 {value}").format(value=f"{asked.guidance:g}"))
    if asked.negative_prompt:
        facts.append(_("不要：{words}").format(words=html.plain(asked.negative_prompt)))
    return [*facts, html.time_text(found.created_at)]


@st.fragment(run_every=_POLL_S)
def _follow(client: ApiClient, generation_id: int) -> None:
    """How far it is, each second; at its end the page shows what has come of it."""
    with show_errors():
        place = st.container()
        if st.button(_("取消生成"), key="cancel_generation", icon=":material/stop_circle:"):
            client.cancel_generation(generation_id)
        found = client.get_generation(generation_id)
        if not found.is_under_way:
            st.rerun()
        with place:
            _show_progress(client, found)


def _show_progress(client: ApiClient, found: GenerationOut) -> None:
    pace = runs.pace_of(found.generation_id)
    if found.state == "running":
        pace.add(found.step)
    words = _progress_text(found, pace.rate)
    if found.steps is None:
        st.html(f'<div class="ps-busy" role="status"><span></span>{escape(words)}</div>')
    else:
        st.progress(runs.share(found.step, found.steps) or 0.0, text=words)
    url = client.preview_url(found)
    if url is not None:
        with st.container(key="generation_preview"):
            st.html(html.image_html(url, _("目前的样子"), is_generated=True))
    st.caption(_("可以离开这一页：生成在后台进行，完成后在“生成过的”里。"))


def _progress_text(found: GenerationOut, rate: float | None) -> str:
    if found.state == "queued":
        return _("排队中：前面的生成完成后开始")
    if found.steps is None:
        return _("正在准备模型…")
    words = _("第 {step} / {steps} 步").format(step=found.step, steps=found.steps)
    if not rate:
        return words
    left = runs.duration((found.steps - found.step) / rate)
    return f"{words} · {_('约剩 {duration}').format(duration=left)}"


def _show_images(client: ApiClient, found: GenerationOut) -> None:
    if found.no_match:
        none = _("没有一张与文字相符。可以换个说法，或多生成几张。")
        st.warning(none, icon=":material/image_not_supported:")
    with st.container(key="results_generated"):
        for picture in found.pictures:
            one = _name(found, picture)
            name = f"{one.generation_id}_{one.number}"
            with st.container(key=f"generated_{name}", gap="xsmall"):
                st.html(_card_html(client, found, picture))
                _show_buttons(client, found, one, name)


def _card_html(client: ApiClient, found: GenerationOut, picture: GeneratedImage) -> str:
    url = client.generated_image_url(_name(found, picture), 512)
    shown = html.image_html(url, _wanted(found), is_generated=True)
    seed = _("种子 {seed}").format(seed=picture.seed)
    fit = "" if picture.score is None else html.fit_html(picture.confidence, picture.score)
    if picture.fits is False:
        fit = f'<span class="ps-verdict ps-mismatch">{_("图文不符")}</span>{fit}'
    return (
        f'<div class="ps-card" role="article">{shown}'
        f'<div class="ps-judgement">{fit}</div><div class="ps-labels">{seed}</div></div>'
    )


def _show_buttons(
    client: ApiClient, found: GenerationOut, one: PictureOfGeneration, name: str
) -> None:
    with st.container(gap="xxsmall"):
        label, icon = _("用它找商品"), ":material/image_search:"
        if st.button(label, key=f"find_{name}", icon=icon, width="stretch"):
            open_search({"generation": f"{one.generation_id}-{one.number}"})
        attach_button(one, name, found.request.product_id)
        st.download_button(
            _("下载"),
            partial(client.get_generated_image, one),
            file_name=f"generated-{one.generation_id}-{one.number}.png",
            mime="image/png",
            key=f"download_{name}",
            icon=":material/download:",
            type="tertiary",
            width="stretch",
            on_click="ignore",
        )


def _name(found: GenerationOut, picture: GeneratedImage) -> PictureOfGeneration:
    return PictureOfGeneration(generation_id=found.generation_id, number=picture.number)


def _wanted(found: GenerationOut) -> str:
    """What a person asked for; of a product alone, what the API made of it."""
    return found.request.prompt or found.prompt


# Those of the past


def show_gallery(client: ApiClient, shown: int | None) -> None:
    """All generations, the newest first, a page at a time."""
    places = afters("gallery")
    page = None
    with show_errors():
        page = client.list_generations(GenerationQuery(limit=PAGE_SIZE, before=places[-1] or None))
    if page is None or (not page.items and len(places) == 1):
        return
    st.subheader(_("生成过的"), anchor=False)
    with st.container(key="results_gallery"):
        for found in page.items:
            _show_past(client, found, is_shown=found.generation_id == shown)
    show_turn_buttons("gallery", page.next_before)


def _show_past(client: ApiClient, found: GenerationOut, *, is_shown: bool) -> None:
    number, wanted = found.generation_id, _wanted(found)
    state = _(runs.STATE_NAMES[found.state])
    if found.pictures:
        url = client.generated_image_url(_name(found, found.pictures[0]), 256)
        picture = html.image_html(url, wanted, is_generated=True)
    else:
        picture = f'<div class="ps-pic ps-none">{state}</div>'
    facts = [html.time_text(found.created_at)]
    if len(found.pictures) > 1:
        facts.append(_("{count} 张").format(count=len(found.pictures)))
    with st.container(key=f"past_{number}", gap="xsmall"):
        st.html(
            f'<div class="ps-card" role="article">{picture}'
            f'<div class="ps-title">{escape(wanted)}</div>'
            f'<div class="ps-labels">{escape(" · ".join(facts))}</div></div>'
        )
        st.button(
            _("正在看") if is_shown else _("查看"),
            key=f"show_{number}",
            width="stretch",
            disabled=is_shown,
            on_click=show,
            args=(number,),
        )
