"""Images over HTTP: as stored or as a thumbnail, with an ETag to revalidate by."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response

from product_search.images.store import StoredImage

Size = Annotated[
    Literal["64", "128", "256", "512", "1024"] | None, Query(description="缩略图的边长（像素）")
]
_HEADERS = {
    "ETag": {
        "description": "内容的标识，可用作 If-None-Match",
        "required": True,
        "schema": {"type": "string", "pattern": '^".+"$'},
    },
    "Cache-Control": {"required": True, "schema": {"const": "public, no-cache"}},
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"image/*": {}},
        "description": "图片，或不大于 size 的 WebP 缩略图",
        "headers": _HEADERS,
    },
    304: {"description": "与 If-None-Match 相同，没有正文", "headers": _HEADERS},
}


def answer(request: Request, picture: StoredImage) -> Response:
    """Return the image, or 304 where the client has it already."""
    headers = {
        "ETag": f'"{picture.etag}"',
        # The same address shows another image once the product is changed: always revalidate.
        "Cache-Control": "public, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    if _matches(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(picture.content, media_type=picture.media_type, headers=headers)


def _matches(if_none_match: str, etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return etag in tags or "*" in tags
