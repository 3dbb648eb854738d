"""Images over HTTP: clean or as a thumbnail, never taken for anything else by a browser."""

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


# Whatever bytes a picture is made of, a browser shows them as a picture or not at all. Pages of
# every origin may show it: the project's own are at another port, those of shops elsewhere.
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_SUFFIXES = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif"}


def answer(request: Request, picture: StoredImage, name: str) -> Response:
    """Return the image, or 304 where the client has it already.

    Args:
        request: what asks for it.
        picture: the image; its media type is one of those that the store shows.
        name: what the image is called when it is saved, of letters, digits and hyphens.
    """
    headers = {
        "ETag": f'"{picture.etag}"',
        # The same address shows another image once the product is changed: always revalidate.
        "Cache-Control": "public, no-cache",
        "Content-Disposition": f'inline; filename="{name}.{_SUFFIXES[picture.media_type]}"',
    } | SAFE_HEADERS
    if _matches(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(picture.content, media_type=picture.media_type, headers=headers)


def _matches(if_none_match: str, etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return etag in tags or "*" in tags
