"""Products that seem to be there twice: side by side, to keep one and delete the others."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import NamedTuple

import streamlit as st

from data_models import DuplicateGroup, DuplicateRun, DuplicatesPage, DuplicatesQuery, ProductOut
from product_search.client import ApiClient, ApiError, ApiUnreachable
from product_search.demo import html
from product_search.demo.errors import error_text, show_errors
from product_search.demo.language import _
from product_search.demo.navigation import begin_page, open_in_catalog
from product_search.demo.service import known_labels
from product_search.demo.views import duplicates
from product_search.demo.views.duplicates import Part
from product_search.demo.views.findings import (
    Run,
    Survey,
    afters,
    begin_anew_with_another,
    show_survey,
    show_turn_buttons,
)

PAGE_SIZE = 10  # groups
LEAST_ALIKE = 80  # percent; the search finds nothing that is less alike


class Choice(NamedTuple):
    """Products of a group, and those of them that shall go."""

    products: list[ProductOut]
    doomed: list[ProductOut]


class Deleted(NamedTuple):
    """What came of a deletion: how many products are gone, and why the others are not, by title."""

    number: int
    errors: dict[str, str]


def duplicates_page() -> None:
    """The last search and its groups."""
    client, health = begin_page(_("查重"))
    if health is None:
        return
    st.caption(_("图片或标题看来是同一件商品的，放在一起比一比：留下一件，删掉多余的。"))
    places = afters("duplicates")
    page = None
    with show_errors():
        page = client.get_duplicates(DuplicatesQuery(limit=PAGE_SIZE, after=places[-1]))
    if page is None:
        return
    begin_anew_with_another("duplicates", page.last)
    newest = partial(_newest, client)
    survey = Survey("search_duplicates", _("开始查重"), _summary, client.find_duplicates, newest)
    show_survey(survey, page.last, page.newest)
    _show_deleted()
    if page.last is None:
        words = _("查重会把目录里的商品两两比较，不改动任何商品。")
        st.info(words, icon=":material/content_copy:")
    elif not page.groups and len(places) == 1 and page.next_after is None:
        st.success(_("没有重复的商品。"), icon=":material/task_alt:")
    else:
        _show_groups(client, page)
        show_turn_buttons("duplicates", page.next_after)


def _newest(client: ApiClient) -> DuplicateRun | None:
    return client.get_duplicates(DuplicatesQuery(limit=1)).newest


def _summary(run: Run) -> str:
    assert isinstance(run, DuplicateRun)
    compared = _("比较了 {count} 件").format(count=run.products)
    return f"{compared} · {_('{count} 组重复').format(count=run.groups)}"


# The groups


@st.fragment
def _show_groups(client: ApiClient, page: DuplicatesPage) -> None:
    percent = st.slider(
        _("至少多相似"),
        LEAST_ALIKE,
        100,
        LEAST_ALIKE,
        format="%d%%",
        key="threshold",
        width=420,
        persist_state="session",
    )
    shown = [
        (group, part) for group in page.groups for part in duplicates.parts(group, percent / 100)
    ]
    if not shown:
        st.info(_("这一批里没有这么相似的。可以把上面的界线调低。"), icon=":material/tune:")
    with show_errors():
        for group, part in shown:
            _show_part(client, group, part)
    choice: Choice | None = st.session_state.get("duplicates_choice")
    if choice is not None:
        _confirm(client, choice)


def _show_part(client: ApiClient, group: DuplicateGroup, part: Part) -> None:
    found = [duplicates.product_or_none(client, client.base_url, one) for one in part.product_ids]
    products = [product for product in found if product is not None]
    if len(products) < 2:
        return
    doomed = [product for product in products if not _is_kept(product.product_id)]
    with st.container(border=True, key=f"group_{products[0].product_id}"):
        _show_group_head(group, products, doomed)
        with st.container(key=f"results_copies_{products[0].product_id}"):
            for product in products:
                _show_product(client, part, product, [one.product_id for one in products])
        if len(doomed) == len(products):
            st.caption(f":orange[{_('至少留下一件。')}]")
        elif doomed:
            st.button(
                _("删除 {count} 件…").format(count=len(doomed)),
                key=f"delete_{products[0].product_id}",
                type="primary",
                icon=":material/delete:",
                on_click=_choose,
                args=(Choice(products, doomed),),
            )


def _show_group_head(
    group: DuplicateGroup, products: list[ProductOut], doomed: list[ProductOut]
) -> None:
    words = [_("{count} 件商品").format(count=len(products))]
    if group.size > len(group.product_ids):
        all_of_them = _("这一组共有 {count} 件，这里只有前 {shown} 件")
        words.append(all_of_them.format(count=group.size, shown=len(group.product_ids)))
    if doomed:
        words.append(_("留下 {count} 件").format(count=len(products) - len(doomed)))
    st.caption(" · ".join(words))


def _is_kept(product_id: int) -> bool:
    """What the product's switch says; on, until somebody turns it off."""
    return bool(st.session_state.setdefault(f"keep_{product_id}", True))


def _show_product(client: ApiClient, part: Part, product: ProductOut, together: list[int]) -> None:
    number = product.product_id
    with st.container(key=f"copy_{number}", gap="xsmall"):
        card = html.card_html(client, product, _foot_html(part, product))
        st.html(card if _is_kept(number) else f'<div class="ps-goes">{card}</div>')
        with st.container(
            horizontal=True,
            gap="xsmall",
            horizontal_alignment="distribute",
            vertical_alignment="center",
        ):
            st.toggle(_("留下"), key=f"keep_{number}", persist_state="session")
            if st.button(_("编辑"), key=f"edit_{number}", type="tertiary", icon=":material/edit:"):
                open_in_catalog(number)
        st.button(
            _("只留这件"),
            key=f"only_{number}",
            width="stretch",
            on_click=_keep_only,
            args=(number, together),
        )


def _foot_html(part: Part, product: ProductOut) -> str:
    """Why it is here, and since when it is in the catalog."""
    pair = part.closest(product.product_id)
    why = _(duplicates.WHY_NAMES[pair.why])
    added = _("{when} 加入").format(when=html.time_text(product.created_at))
    number = _("编号 {number}").format(number=product.product_id)
    return (
        f'<div class="ps-why-pair">{why} · {pair.similarity:.0%}</div>'
        f'<div class="ps-labels">{escape(added)}<br>{escape(number)}</div>'
    )


def _keep_only(product_id: int, together: list[int]) -> None:
    for one in together:
        st.session_state[f"keep_{one}"] = one == product_id


# Deleting


def _choose(choice: Choice | None = None) -> None:
    """Open the question whether to delete, or close it."""
    st.session_state["duplicates_choice"] = choice


def _confirm(client: ApiClient, choice: Choice) -> None:
    @st.dialog(_("删除重复的商品？"), icon=":material/delete:", on_dismiss=_choose)
    def ask() -> None:
        st.markdown(_("这些商品会被删除，不能恢复："))
        rows = "".join(html.row_html(client, product) for product in choice.doomed)
        st.html(f'<div class="ps-doomed">{rows}</div>')
        kept = [product for product in choice.products if product not in choice.doomed]
        titles = " · ".join(html.plain(product.title) for product in kept)
        st.caption(_("留下：{titles}").format(titles=titles))
        with st.container(horizontal=True):
            confirmed = st.button(_("确认删除"), key="confirm_delete", type="primary")
            cancelled = st.button(_("取消"), key="cancel_delete")
        if confirmed:
            with st.spinner(_("正在删除…")):
                st.session_state["deleted"] = _delete(client, choice.doomed)
        if confirmed or cancelled:
            _choose()
            st.rerun()

    ask()


def _delete(client: ApiClient, doomed: list[ProductOut]) -> Deleted:
    """Each by itself: what one of them meets is no reason to spare the others."""
    errors = {}
    for product in doomed:
        try:
            client.delete_product(product.product_id)
        except (ApiError, ApiUnreachable) as error:
            if not isinstance(error, ApiError) or error.body.code != "product_not_found":
                errors[product.title] = error_text(error)
                continue
        st.session_state.pop(f"keep_{product.product_id}", None)
    duplicates.product_or_none.clear()
    known_labels.clear()
    return Deleted(len(doomed) - len(errors), errors)


def _show_deleted() -> None:
    """What the last deletion did, once."""
    deleted: Deleted | None = st.session_state.pop("deleted", None)
    if deleted is None:
        return
    if deleted.number:
        done = _("已删除 {count} 件，它们不再出现在搜索结果里。").format(count=deleted.number)
        st.success(done, icon=":material/check_circle:")
    for title, why in deleted.errors.items():
        failed = _("没有删除“{title}”：{reason}")
        st.error(failed.format(title=html.plain(title), reason=why), icon=":material/error:")


duplicates_page()
