"""Cursors: what a client has seen of one search, signed, so that the next page brings the rest."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from product_search.errors import CursorInvalid, CursorStale

_MAC_BYTES = 16


@dataclass(frozen=True)
class Seen:
    """The products that came on the pages before, of a search in one collection."""

    search: str
    collection: str
    product_ids: frozenset[int]


def search_hash(request: object) -> str:
    """What tells one search from another: of the request without its cursor and page size."""
    text = json.dumps(request, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def open_key(path: Path) -> bytes:
    """The key of the file, which is drawn once; all services with this data folder share it."""
    if not path.exists():
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as stream:
            stream.write(secrets.token_bytes(32))
        try:
            os.link(partial, path)  # fails where another service was faster
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    return path.read_bytes()


@dataclass(frozen=True)
class Cursors:
    """Writes and reads cursors with one key."""

    key: bytes

    def write(self, seen: Seen) -> str:
        """As text for a URL or a JSON body."""
        payload = [seen.search, seen.collection, *_steps(seen.product_ids)]
        packed = zlib.compress(json.dumps(payload, separators=(",", ":")).encode(), 9)
        return base64.urlsafe_b64encode(self._mac(packed) + packed).decode()

    def read(self, cursor: str, search: str, collection: str) -> frozenset[int]:
        """The ids of the products that were seen of this search.

        Raises:
            CursorInvalid: it was not written here, or for another search.
            CursorStale: the collection that it was written for is no longer searched.
        """
        try:
            raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise CursorInvalid("cursor 无法识别：请原样使用上一页的 next_cursor") from error
        mac, packed = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(packed)):
            raise CursorInvalid("cursor 无法识别：请原样使用上一页的 next_cursor")
        its_search, its_collection, *steps = json.loads(zlib.decompress(packed))
        if its_search != search:
            raise CursorInvalid("cursor 属于另一个搜索：翻页时除 top_k 外请求须保持不变")
        if its_collection != collection:
            raise CursorStale("cursor 已失效：在用的向量集合已更换，请从第一页重新搜索")
        return frozenset(_ids(steps))

    def _mac(self, packed: bytes) -> bytes:
        return hmac.new(self.key, packed, hashlib.sha256).digest()[:_MAC_BYTES]


def _steps(product_ids: Iterable[int]) -> list[int]:
    """Ascending ids as the distance of each from the one before: short, and packed well."""
    ordered = sorted(product_ids)
    return [one - before for before, one in zip([0, *ordered], ordered, strict=False)]


def _ids(steps: Iterable[int]) -> Iterable[int]:
    total = 0
    for step in steps:
        total += step
        yield total
