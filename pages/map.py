"""The catalog in two dimensions: what is alike lies near, and every point is a product."""

from __future__ import annotations

from functools import partial

import streamlit as st

from data_models import CatalogMap, MapField, VectorField
from product_search.demo.errors import show_errors
from product_search.demo.language import N_, _, option_name
from product_search.demo.navigation import begin_page
from product_search.demo.views.map import await_map, show_map

FIELDS: dict[MapField, str] = {
    VectorField.image_clip: N_("图片"),
    VectorField.text_bge: N_("标题的意思"),
    VectorField.text_clip: N_("标题说的样子"),
}
NEAR = {
    VectorField.image_clip: N_("每个点是一件商品；离得近，就是图片看上去相近。"),
    VectorField.text_bge: N_("每个点是一件商品；离得近，就是标题的意思相近。"),
    VectorField.text_clip: N_("每个点是一件商品；离得近，就是标题说的东西看上去相近。"),
}


def map_page() -> None:
    """Show the map of a vector field."""
    client, health = begin_page(_("目录图"))
    if health is None:
        return
    field: MapField = st.segmented_control(
        _("按什么排布"),
        list(FIELDS),
        default=VectorField.image_clip,
        required=True,
        format_func=partial(option_name, FIELDS),
        key="map_field",
        persist_state="session",
    )
    found = None
    with show_errors():
        found = client.get_map(field)
    if isinstance(found, CatalogMap):
        st.caption(_(NEAR[field]))
        if found.stale:
            await_map(client, field, found.computed_at)
        if found.points:
            show_map(client, found)
        else:
            st.info(_("还没有可以画的商品。先导入一些商品吧。"), icon=":material/upload_file:")
    elif found is not None:
        await_map(client, field, None)


map_page()
