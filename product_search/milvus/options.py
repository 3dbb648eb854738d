"""Options of Milvus: where it is, and how it keeps and searches a collection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from product_search.errors import StartError

IndexType = Literal["FLAT", "IVF_FLAT", "IVF_SQ8", "HNSW", "DISKANN", "AUTOINDEX"]
Consistency = Literal["Strong", "Bounded", "Session", "Eventually"]
PartitionKey = Literal["category"]
Params = Mapping[str, Any]

EMBEDDED_INDEXES = ("FLAT", "IVF_FLAT", "AUTOINDEX")
_BUILD: dict[str, Params] = {
    "IVF_FLAT": {"nlist": 128},
    "IVF_SQ8": {"nlist": 128},
    "HNSW": {"M": 32, "efConstruction": 400},  # with half of each, filters lose hits (0013)
}
_SEARCH: dict[str, Params] = {
    "IVF_FLAT": {"nprobe": 16},
    "IVF_SQ8": {"nprobe": 16},
    "HNSW": {"ef": 64},
    "DISKANN": {"search_list": 100},
}
# With a filter at least this much, since what passes it may lie far from the query (decision 0013).
# All lists: Milvus takes no more than there are, and computes no distance to what does not pass.
_FILTERED: dict[str, int] = {"nprobe": 65_536, "ef": 256}
# A list of candidates that is shorter than the answer is refused.
_AT_LEAST_LIMIT = ("ef", "search_list")


@dataclass(frozen=True)
class MilvusServer:
    """Address of a Milvus server; the token is kept out of every text."""

    uri: str
    token: str = field(default="", repr=False)

    @property
    def tells_its_token(self) -> bool:
        """Whether the token would cross a network in the clear."""
        parts = urlsplit(self.uri)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        return bool(self.token) and parts.scheme == "http" and not local


@dataclass(frozen=True)
class MilvusOptions:
    """Options of collections and searches; no `index_type` is FLAT in a file, HNSW on a server."""

    index_type: IndexType | None = None
    index_params: Params = field(default_factory=dict)
    search_params: Params = field(default_factory=dict)
    replicas: int = 1
    shards: int = 1
    mmap: bool = False
    partition_key: PartitionKey | None = None
    consistency: Consistency = "Strong"

    def check_embedded(self) -> None:
        """Raise StartError at options that only a server has."""
        if self.index_type is not None and self.index_type not in EMBEDDED_INDEXES:
            raise StartError(
                f"PRODUCT_SEARCH_MILVUS_INDEX_TYPE：本地文件（Milvus Lite）只支持 "
                f"{'、'.join(EMBEDDED_INDEXES)}；{self.index_type} 需要 Milvus 服务器"
            )
        chosen = {
            "REPLICAS": self.replicas > 1,
            "SHARDS": self.shards > 1,
            "MMAP": self.mmap,
            "PARTITION_KEY": self.partition_key is not None,
        }
        if any(chosen.values()):
            names = "、".join(f"PRODUCT_SEARCH_MILVUS_{name}" for name, on in chosen.items() if on)
            raise StartError(f"{names}：只对 Milvus 服务器有效，本地文件（Milvus Lite）不支持")

    def index(self, *, embedded: bool) -> tuple[str, Params]:
        """Return the type of the index to make, and its parameters."""
        index_type = self.index_type or ("FLAT" if embedded else "HNSW")
        return index_type, {**_BUILD.get(index_type, {}), **self.index_params}

    def search(self, index_type: str, limit: int, *, is_filtered: bool = False) -> dict[str, Any]:
        """Return the parameters of a search in an index of this type for `limit` hits."""
        params = {**_SEARCH.get(index_type, {}), **self.search_params}
        for name in _AT_LEAST_LIMIT:
            if name in params:
                params[name] = max(params[name], limit)
        if is_filtered:
            params |= {
                name: max(params[name], least)
                for name, least in _FILTERED.items()
                if name in params
            }
        return params


def check_uri(uri: str) -> str:
    """Return the address of a server or the path of a file. Raises ValueError at any other text."""
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("应为文件路径，或 http:// 与 https:// 开头的地址")
    if parts.username is not None:
        raise ValueError("地址里不能有用户名或密码：请用 PRODUCT_SEARCH_MILVUS_TOKEN")
    return uri


def json_object(value: object) -> object:
    """Parse a setting as a JSON object of numbers, strings and booleans, or raise ValueError."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    scalars = (int, float, str)
    if not isinstance(found, dict) or not all(isinstance(v, scalars) for v in found.values()):
        raise ValueError('应为 JSON 对象，例如 {"M": 16}')
    return found
