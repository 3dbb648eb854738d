"""The catalog's map: its plot, the products at its points, and the wait for it."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from html import escape
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from data_models import (
    CatalogMap,
    MapComputing,
    MapField,
    MapPoint,
    ProductListQuery,
    ProductOut,
    VectorField,
)
from product_search.client import ApiClient
from product_search.demo import html
from product_search.demo.errors import show_errors
from product_search.demo.language import _, language
from product_search.demo.navigation import open_search, show_open_button
from product_search.demo.operators import whose

# At least 3:1 on the light and on the dark ground alike.
COLOURS = (
    "#2f86d6",
    "#d9700f",
    "#2a9d6a",
    "#d6457c",
    "#8d68d8",
    "#a9821f",
    "#1697a6",
    "#cf4b45",
    "#6c9020",
    "#b060b0",
)
OTHERS_COLOUR = "#868e8b"
_HEIGHT = 540
_MAX_TITLES = 2000  # products whose titles the map shows: twenty requests, once for each map
# Plotly shows words at the cursor, and no images. Bound again as the cursor comes in, since
# Streamlit draws the plot when it likes.
_TIP = """<script>
window.psMap ??= (() => {
  const tip = Object.assign(document.createElement("div"), { className: "ps-tip", hidden: true });
  tip.setAttribute("role", "tooltip");
  const image = document.createElement("img");
  image.alt = "";
  image.onerror = () => { image.hidden = true; };
  const words = document.createElement("div");
  tip.append(image, words);
  const show = ({ points, event }) => {
    const [, title, address] = points[0].customdata;
    if (image.getAttribute("src") !== address) {
      image.removeAttribute("src");
      image.hidden = !address;
      if (address) image.src = address;
    }
    words.textContent = title;
    document.querySelector(".stApp").append(tip);
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = event.clientX + 16, top = event.clientY - height / 2;
    tip.style.left = `${left + width < innerWidth ? left : Math.max(0, left - width - 32)}px`;
    tip.style.top = `${Math.max(8, Math.min(top, innerHeight - height - 8))}px`;
  };
  const hide = () => { tip.hidden = true; };
  document.addEventListener("pointerover", ({ target }) => {
    const plot = target.closest?.(".st-key-map .js-plotly-plot");
    if (!plot) return hide();
    for (const [name, act] of [["plotly_hover", show], ["plotly_unhover", hide]]) {
      plot.removeListener?.(name, act);
      plot.on?.(name, act);
    }
  });
  return true;
})();
</script>"""

# Where the plot fills the window, the product is below it.
_SCROLL_TO_PRODUCT = """<script>
requestAnimationFrame(() => document.querySelector(".st-key-map_product")
  ?.scrollIntoView({ block: "nearest", behavior: "smooth" }));
</script>"""


def _facts(catalog_map: CatalogMap) -> str:
    """Return how much of the catalog the map shows, and how truly."""
    has_images = catalog_map.field is VectorField.image_clip
    shown = (
        _("显示有图片的 {total} 件中的 {shown} 件")
        if has_images
        else _("显示 {total} 件中的 {shown} 件")
    )
    kept = _("横竖两个方向留住了全部差别的 {share}").format(
        share=f"{sum(catalog_map.explained_variance):.0%}"
    )
    return f"{shown.format(total=catalog_map.total, shown=catalog_map.shown)} · {kept}"


@st.fragment(run_every=2)
def await_map(client: ApiClient, field: MapField, before: datetime | None) -> None:
    """Ask until there is a map of another time than `before`; the page then shows it."""
    with show_errors():
        found = client.get_map(field)
        if isinstance(found, CatalogMap) and found.computed_at != before:
            st.rerun()
        if isinstance(found, MapComputing) and found.error:
            failed = _("上一次没有算成：{reason}").format(reason=html.plain(found.error))
            st.warning(failed, icon=":material/warning:")
    words = _("正在计算这张图，好了会自己显示。")
    if before is not None:
        when = html.time_text(before)
        words = _("商品有了变化，正在重新计算；现在显示的是 {when} 的。").format(when=when)
    st.html(f'<div class="ps-busy" role="status"><span></span>{words}</div>')


@st.fragment
def show_map(client: ApiClient, catalog_map: CatalogMap) -> None:
    """Show the map, and beside it the product of the chosen point."""
    left, right = st.columns([3, 1], gap="medium")
    with left.container(key="map"):
        event: Any = st.plotly_chart(
            _figure(client, catalog_map),
            key=f"map_{catalog_map.field.name}",
            on_select="rerun",
            selection_mode="points",
            config={"displayModeBar": False},
            alt=_("目录图：{count} 件商品，按分类着色").format(count=catalog_map.shown),
        )
        st.html(_TIP, unsafe_allow_javascript=True)
        st.caption(_facts(catalog_map))
    with right:
        points = event.selection.points
        if points:
            _show_product(client, int(points[0]["customdata"][0]))
        else:
            hint = _("指着一个点看它的图片，点一下看是哪件商品。拖出一块可以放大，双击还原。")
            st.info(hint, icon=":material/touch_app:")


def _figure(client: ApiClient, catalog_map: CatalogMap) -> go.Figure:
    titles = {}
    if catalog_map.total <= _MAX_TITLES:
        with show_errors():
            titles = _titles(client, whose(client), catalog_map.computed_at, language())
    traces = [
        go.Scatter(
            x=[point.x for point in points],
            y=[point.y for point in points],
            customdata=[_custom_data(client, point, titles) for point in points],
            name=escape(name),
            mode="markers",
            marker={"color": colour, "size": 9, "opacity": 0.85, "line": {"width": 0}},
            selected={"marker": {"size": 16, "opacity": 1}},
            unselected={"marker": {"opacity": 0.4}},
            hoverinfo="none",
        )
        for name, colour, points in _categories(catalog_map.points)
    ]
    axis = {"visible": False, "automargin": False}
    return go.Figure(
        traces,
        go.Layout(
            height=_HEIGHT,
            margin={"l": 0, "r": 0, "t": 8, "b": 8},
            xaxis=axis,
            yaxis=axis,
            legend={"orientation": "h", "yanchor": "top", "y": -0.02, "title": None},
            showlegend=True,
            hovermode="closest",
        ),
    )


def _categories(points: list[MapPoint]) -> list[tuple[str, str, list[MapPoint]]]:
    """Return categories' names, colours and points: the largest first, the small ones as one."""
    sizes = Counter(point.category or _("未分类") for point in points)
    colours = {
        name: colour for (name, _size), colour in zip(sizes.most_common(), COLOURS, strict=False)
    }
    others = _("其他")
    groups: defaultdict[str, list[MapPoint]] = defaultdict(list)
    for point in points:
        name = point.category or _("未分类")
        groups[name if name in colours else others].append(point)
    small = groups.pop(others, [])
    found = [(name, colour, groups[name]) for name, colour in colours.items() if name in groups]
    return [*found, (others, OTHERS_COLOUR, small)] if small else found


def _custom_data(
    client: ApiClient, point: MapPoint, titles: dict[int, str]
) -> tuple[int, str, str]:
    """Return what the plot knows of a point: the product's id, its title, its image's address."""
    number = point.product_id
    unknown = f"{point.category or _('未分类')} · {_('编号 {number}').format(number=number)}"
    address = client.public_url(point.image_url, size=256) if point.image_url else ""
    return number, titles.get(number, unknown), address


@st.cache_data(max_entries=4, ttl=600, show_spinner=False)
def _titles(
    _client: ApiClient, reader: str, computed_at: datetime, chosen_language: str
) -> dict[int, str]:
    """Return the titles of all products, kept for a reader (`whose`) while the map is the same."""
    found: dict[int, str] = {}
    last = 0
    while items := _client.list_products(ProductListQuery(after_id=last, page_size=100)).items:
        found |= {item.product_id: _title(item) for item in items}
        last = items[-1].product_id
    return found


def _title(product: ProductOut) -> str:
    """Return the title, marked where the product's image is generated."""
    return f"{product.title} · {_('AI 生成')}" if product.image_generated else product.title


def _show_product(client: ApiClient, product_id: int) -> None:
    with show_errors():
        product = client.get_product(product_id)
        # Another text for each product: a script that is the same isn't run again.
        st.html(f"<i hidden>{product_id}</i>{_SCROLL_TO_PRODUCT}", unsafe_allow_javascript=True)
        with st.container(key="map_product", gap="small"):
            st.html(html.card_html(client, product))
            if st.button(
                _("找相似"),
                key="similar",
                type="primary",
                icon=":material/search:",
                width="stretch",
            ):
                open_search({"like": str(product_id)})
            show_open_button(product_id, "edit", width="stretch")
