"""Pictures that requests name by URL, fetched before the rest of the work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence

from fastapi import Request
from pydantic import BaseModel

from data_models import (
    MatchImage,
    MatchRequest,
    ProductCreate,
    ProductPatch,
    QueryPart,
    RerankRequest,
    SearchRequest,
    TitlesRequest,
)
from product_search.access.errors import Forbidden
from product_search.api.incoming import memory_of
from product_search.api.threads import until_client_leaves
from product_search.context import current_principal
from product_search.errors import AppError, ClientGone, PayloadTooLarge
from product_search.fetching.errors import ImageFetchTimeout
from product_search.fetching.fetcher import Fetcher
from product_search.images.formats import MAX_BYTES

MAX_FETCHED = 4 * MAX_BYTES  # of one request
_AT_ONCE = 4  # of one request: others have a turn too
_ALL_S = 30.0  # for all pictures of a request

# What has a picture of its own, by URL or as bytes.
Pictured = (
    ProductCreate | ProductPatch | SearchRequest | QueryPart | RerankRequest | TitlesRequest
) | MatchImage


def names_urls(body: BaseModel) -> bool:
    """Tell whether a picture of the body is named by URL."""
    return next(_pictures(body), None) is not None


async def fetch_pictures(request: Request, body: BaseModel, fetcher: Fetcher) -> None:
    """Put into the body the pictures that it names by URL.

    Raises:
        ClientGone, Forbidden: as `fetch_pictures_of_all` does.
        AppError: what Fetcher.fetch raises, with the place in the body.
    """
    (error,) = await fetch_pictures_of_all(request, [body], fetcher)
    if error is not None:
        raise error


async def fetch_pictures_of_all(
    request: Request, bodies: Sequence[BaseModel], fetcher: Fetcher
) -> list[AppError | None]:
    """Put into each body the pictures that it names by URL; return what kept it from that.

    Raises:
        ClientGone: the client has left; nothing is fetched any more.
        Forbidden: the caller's key is everybody's, who would hide behind this service.
    """
    if current_principal.get().origins and any(map(names_urls, bodies)):
        raise Forbidden("可公开的密钥不能让服务按地址取图片：请上传图片")
    fetches = _Fetches(request, fetcher)
    errors: list[AppError | None] = [None] * len(bodies)

    async def fetch(number: int, place: str, picture: Pictured) -> None:
        async with fetches.turns:
            if errors[number] is None:
                error = await fetches.fetch(place, picture)
                errors[number] = errors[number] or error

    named = [(n, *one) for n, body in enumerate(bodies) for one in _pictures(body)]
    try:
        async with asyncio.timeout(_ALL_S):
            await _while_wanted(request, asyncio.gather(*(fetch(*one) for one in named)))
    except TimeoutError:
        for number, place, picture in named:
            if picture.image_url is not None and errors[number] is None:
                errors[number] = ImageFetchTimeout(ImageFetchTimeout.example).at(place)
    return errors


class _Fetches:
    """The fetches of one request, which share its memory."""

    def __init__(self, request: Request, fetcher: Fetcher) -> None:
        self.turns = asyncio.Semaphore(_AT_ONCE)
        self._fetcher = fetcher
        self._take_memory = memory_of(request)
        self._taken = 0

    async def fetch(self, place: str, picture: Pictured) -> AppError | None:
        """Put the bytes into the picture, in place of its URL; return what kept it from that."""
        assert picture.image_url is not None, "_pictures has checked it"
        try:
            picture.image = await self._fetcher.fetch(picture.image_url, self._take)
        except AppError as error:
            return error.at(place)
        picture.image_url = None
        return None

    async def _take(self, size: int) -> None:
        self._taken += size
        if self._taken > MAX_FETCHED:
            raise PayloadTooLarge(
                f"一次请求按地址取的图片合计最多 {MAX_FETCHED // 1024 // 1024} MB"
            )
        await self._take_memory(size)


def _pictures(body: BaseModel) -> Iterator[tuple[str, Pictured]]:
    """Yield each picture of the body that is named by URL, after its place in it."""
    if isinstance(body, Pictured) and body.image_url is not None:
        yield "image_url", body
    if isinstance(body, SearchRequest):
        yield from _among("parts", body.parts)
    if isinstance(body, MatchRequest):
        yield from _among("images", body.images)
        if body.image is not None and body.image.image_url is not None:
            yield "image.image_url", body.image


def _among(
    name: str, some: Sequence[QueryPart | MatchImage] | None
) -> Iterator[tuple[str, Pictured]]:
    for number, one in enumerate(some or ()):
        if one.image_url is not None:
            yield f"{name}.{number}.image_url", one


async def _while_wanted(request: Request, work: Awaitable[object]) -> None:
    """Wait for the work. Raises ClientGone once the client has left, and ends the work."""
    working = asyncio.ensure_future(work)
    watching = asyncio.create_task(until_client_leaves(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        working.result()
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.wait({working, watching})
