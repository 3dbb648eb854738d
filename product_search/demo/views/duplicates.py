"""The duplicates page: groups by a threshold of the page's own, and the deletion of copies."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

import streamlit as st

from data_models import DuplicateGroup, DuplicatePair, DuplicatesPage, ProductOut, Why
from product_search.client import ApiClient, ApiError, ApiUnreachable
from product_search.demo import html
from product_search.demo.errors import error_text, is_for_all, show_errors
from product_search.demo.language import N_, _
from product_search.demo.navigation import show_open_button
from product_search.demo.operators import may, whose
from product_search.demo.service import known_labels
from product_search.demo.sign_in import allows
from product_search.grouping import group_pairs

LEAST_ALIKE = 80  # percent; the search finds nothing that is less alike
WHY_NAMES = {
    Why.same_file: N_("同一图片文件"),
    Why.same_title: N_("同标题同品牌"),
    Why.perceptual_hash: N_("图片看上去一样"),
    Why.embedding: N_("图片相近"),
}


class Choice(NamedTuple):
    """Products of a group, and the products among them that shall go."""

    products: list[ProductOut]
    doomed: list[ProductOut]


class Deletion(NamedTuple):
    """Outcome of a deletion: how many products are gone, and why the others are not, by title."""

    deleted: int
    errors: dict[str, str]


class Part(NamedTuple):
    """Products of a group that its strong pairs hold together, in the order of their ids."""

    product_ids: list[int]
    pairs: list[DuplicatePair]

    def closest(self, product_id: int) -> DuplicatePair:
        """Return the strongest of the product's pairs."""
        ours = [pair for pair in self.pairs if product_id in pair.product_ids]
        return max(ours, key=lambda pair: pair.similarity)


def split_group(group: DuplicateGroup, threshold: float) -> list[Part]:
    """Split the group into what its pairs of at least this similarity hold together."""
    strong = [pair for pair in group.pairs if pair.similarity >= threshold]
    return [
        Part(ids, [pair for pair in strong if pair.product_ids[0] in ids])
        for ids in group_pairs(pair.product_ids for pair in strong)
    ]


@st.cache_data(ttl=10, show_spinner=False)
def product_or_none(_client: ApiClient, reader: str, product_id: int) -> ProductOut | None:
    """Return the product, at most some seconds old; None once it is gone.

    Args:
        _client: the client to ask.
        reader: whose answers are kept, as `whose` tells.
        product_id: the product.

    Raises:
        ApiError, ApiUnreachable: As ApiClient does for any other reason.
    """
    try:
        return _client.get_product(product_id)
    except ApiError as error:
        if error.body.code == "product_not_found":
            return None
        raise


# The groups


@st.fragment
def show_groups(client: ApiClient, page: DuplicatesPage) -> None:
    """Show the page's groups that are alike enough, and the dialog before a deletion."""
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
    allows("delete_product", _("删掉多余的商品"))
    alike = [(group, part) for group in page.groups for part in split_group(group, percent / 100)]
    if not alike:
        st.info(_("这一批里没有这么相似的。可以把上面的界线调低。"), icon=":material/tune:")
    with show_errors():
        for group, part in alike:
            _show_part(client, group, part)
    choice: Choice | None = st.session_state.get("duplicates_choice")
    if choice is not None:
        _confirm(client, choice)


def _show_part(client: ApiClient, group: DuplicateGroup, part: Part) -> None:
    found = [product_or_none(client, whose(client), one) for one in part.product_ids]
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
                on_click=_set_choice,
                args=(Choice(products, doomed),),
            )


def _show_group_head(
    group: DuplicateGroup, products: list[ProductOut], doomed: list[ProductOut]
) -> None:
    words = [_("{count} 件商品").format(count=len(products))]
    if group.size > len(group.product_ids):
        whole = _("这一组共有 {count} 件，这里只有前 {shown} 件")
        words.append(whole.format(count=group.size, shown=len(group.product_ids)))
    if doomed:
        words.append(_("留下 {count} 件").format(count=len(products) - len(doomed)))
    st.caption(" · ".join(words))


def _is_kept(product_id: int) -> bool:
    """Tell what the product's switch says: on, until somebody turns it off who may."""
    is_on = st.session_state.setdefault(f"keep_{product_id}", True)
    return bool(is_on) or not may("delete_product")


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
            if may("delete_product"):
                st.toggle(_("留下"), key=f"keep_{number}", persist_state="session")
            show_open_button(number, f"edit_{number}", type="tertiary")
        if may("delete_product"):
            st.button(
                _("只留这件"),
                key=f"only_{number}",
                width="stretch",
                on_click=_keep_only,
                args=(number, together),
            )


def _foot_html(part: Part, product: ProductOut) -> str:
    """Return why the product is here, and since when it is in the catalog."""
    pair = part.closest(product.product_id)
    why = _(WHY_NAMES[pair.why])
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


def _set_choice(choice: Choice | None = None) -> None:
    """Open the dialog before a deletion, or close it."""
    st.session_state["duplicates_choice"] = choice


def _confirm(client: ApiClient, choice: Choice) -> None:
    @st.dialog(_("删除重复的商品？"), icon=":material/delete:", on_dismiss=_set_choice)
    def ask() -> None:
        st.markdown(_("这些商品会被删除，不能恢复："))
        rows = "".join(html.row_html(client, product) for product in choice.doomed)
        st.html(f'<div class="ps-doomed">{rows}</div>')
        kept = [product for product in choice.products if product not in choice.doomed]
        titles = " · ".join(html.plain(product.title) for product in kept)
        st.caption(_("留下：{titles}").format(titles=titles))
        with st.container(horizontal=True):
            is_confirmed = st.button(_("确认删除"), key="confirm_delete", type="primary")
            is_cancelled = st.button(_("取消"), key="cancel_delete")
        if is_confirmed:
            with st.spinner(_("正在删除…")):
                st.session_state["deleted"] = _delete(client, choice.doomed)
        if is_confirmed or is_cancelled:
            _set_choice()
            st.rerun()

    ask()


def _delete(client: ApiClient, doomed: list[ProductOut]) -> Deletion:
    """Delete each by itself: an error of one product is no reason to spare the others."""
    errors: dict[str, str] = {}
    deleted = 0
    for product in doomed:
        try:
            client.delete_product(product.product_id)
        except (ApiError, ApiUnreachable) as error:
            if not isinstance(error, ApiError) or error.body.code != "product_not_found":
                errors[product.title] = error_text(error)
                if is_for_all(error):
                    break
                continue
        deleted += 1
        st.session_state.pop(f"keep_{product.product_id}", None)
    product_or_none.clear()
    known_labels.clear()
    return Deletion(deleted, errors)


def show_deletion() -> None:
    """Show the outcome of the last deletion, once."""
    deletion: Deletion | None = st.session_state.pop("deleted", None)
    if deletion is None:
        return
    if deletion.deleted:
        done = _("已删除 {count} 件，它们不再出现在搜索结果里。").format(count=deletion.deleted)
        st.success(done, icon=":material/check_circle:")
    for title, why in deletion.errors.items():
        failed = _("没有删除“{title}”：{reason}")
        st.error(failed.format(title=html.plain(title), reason=why), icon=":material/error:")
