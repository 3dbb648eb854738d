"""Cursors: which products a client has seen of one search, signed, so that it gets the rest."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from itsdangerous import BadData, Serializer, URLSafeSerializer
from itsdangerous.encoding import base64_encode

from product_search.errors import CursorInvalid, CursorStale

# 48 bytes fill 64 base64 characters without a bit to spare: no other text is the same signature.
_SIGNER = {"digest_method": hashlib.sha384, "key_derivation": "hmac"}
# Decoding base64 passes over other characters, so that they are refused before.
_CURSOR = re.compile(r"\.?[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{64}")
_LONG = 400  # bytes: a cursor of the first pages is shorter
_UNREADABLE = "cursor 无法识别：请原样使用上一页的 next_cursor"


def search_hash(request: object) -> str:
    """Return what tells one search from another, of the request without its cursor and page."""
    text = json.dumps(request, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def open_key(path: Path) -> bytes:
    """Return the key in the file, which is drawn where there is no file yet.

    All services with this data folder share the key.
    """
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


class _CursorSerializer(URLSafeSerializer):
    """Compresses what is long alone.

    zlib lets other threads run meanwhile: a busy service waits longer for its turn to come again
    than a short text is worth.
    """

    def dump_payload(self, obj: object) -> bytes:
        payload = Serializer.dump_payload(self, obj)
        return base64_encode(payload) if len(payload) < _LONG else super().dump_payload(obj)


class Cursors:
    """Writes and reads cursors with one key."""

    def __init__(self, key: bytes) -> None:
        """Prepare to sign with the key."""
        self._serializer = _CursorSerializer(key, salt="cursor", signer_kwargs=_SIGNER)

    def write(self, search: str, collection: str, product_ids: frozenset[int]) -> str:
        """Return a cursor, as text for a URL or a JSON body.

        `product_ids` are the products that were seen so far of the search in the collection.
        """
        return self._serializer.dumps([search, collection, *_steps(product_ids)])

    def read(self, cursor: str, search: str, collection: str) -> frozenset[int]:
        """Return the ids of the products that were seen of the search.

        Raises:
            CursorInvalid: the cursor was not written with this key, or for another search.
            CursorStale: the collection that it was written for is no longer searched.
        """
        if _CURSOR.fullmatch(cursor) is None:
            raise CursorInvalid(_UNREADABLE)
        try:
            own_search, own_collection, *steps = self._serializer.loads(cursor)
        except BadData as error:
            raise CursorInvalid(_UNREADABLE) from error
        if own_search != search:
            raise CursorInvalid("cursor 属于另一个搜索：翻页时除 top_k 外请求须保持不变")
        if own_collection != collection:
            raise CursorStale("cursor 已失效：在用的向量集合已更换，请从第一页重新搜索")
        return frozenset(itertools.accumulate(steps))


def _steps(product_ids: Iterable[int]) -> list[int]:
    """Return the ids in ascending order, each as its distance from the one before.

    Distances are short, and compress well.
    """
    ordered = sorted(product_ids)
    return [one - before for before, one in zip([0, *ordered], ordered, strict=False)]
