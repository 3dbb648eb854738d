"""Whether pictures have to be decoded to answer a request."""

from __future__ import annotations

from pydantic import BaseModel

from data_models import SearchRequest

_FIELDS = {"image", "images", "image_base64", "image_url", "generation", "product_id"}


def brings_pictures(body: BaseModel) -> bool:
    """Tell whether the body brings or names a picture that is decoded for it."""
    if isinstance(body, SearchRequest):
        return body.image_count > 0
    return not body.model_fields_set.isdisjoint(_FIELDS)
