"""The connection to Milvus: its embedded file or a server, and how its errors are raised."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from pymilvus import MilvusClient, MilvusException
from pymilvus.exceptions import ErrorCode

from product_search.errors import VectorStoreUnavailable
from product_search.milvus.breaker import Breaker
from product_search.milvus.milvus_lite import NOT_AVAILABLE, MilvusLiteFile
from product_search.milvus.options import MilvusServer
from product_search.milvus.wall_clock import Moment

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0
SEARCH_TIMEOUT_S = 10.0  # many times what the slowest search of a large collection takes
REACH_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 10.0
# Searches of a process at the same time; more of them are slower on the file, whose Milvus Lite
# shares this machine's cores (decision 0021).
CALLS_TO_FILE, CALLS_TO_SERVER = 2, 8
_NO_ANSWER = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
_WRITES = frozenset({"upsert", "delete"})
COLLECTION_GONE = "Milvus 里没有要用的集合：若是被删除的，请重启服务，它会新建在用的集合并重新索引"


class MilvusAway(VectorStoreUnavailable):
    """Milvus did not answer a call."""


class MilvusConnection:
    """Calls of one Milvus, from any thread; all collections of a process share the connection."""

    def __init__(self, place: Path | MilvusServer, address: str) -> None:
        """Open the file, which this process then holds until `close`, or connect to the server.

        `address` is where this process can be reached; it is written into the file's lock file.

        Raises:
            VectorFileBusy: another process holds the file.
            StartError: the file's name can't be used.
            VectorStoreUnavailable: Milvus Lite does not start, or the server does not answer.
        """
        # Its stack traces repeat what is raised as VectorStoreUnavailable.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        self.calls_at_once = CALLS_TO_FILE if isinstance(place, Path) else CALLS_TO_SERVER
        self._source = (
            MilvusLiteFile(place, address) if isinstance(place, Path) else _ServerClient(place)
        )
        self._breaker = Breaker(self._reach)

    def client(self) -> tuple[MilvusClient, int]:
        """Return a client, and how many times Milvus was started: then it has nothing loaded."""
        return self._source.client()

    @property
    def incidents(self) -> int:
        """How many times what was written may have been lost since this process has begun."""
        return self._source.incidents

    def call(self, method: str, *arguments: Any, timeout: float = TIMEOUT_S, **named: Any) -> Any:
        """Return what the client's method returns.

        Raises:
            VectorStoreUnavailable: Milvus does not answer, has not answered a call just now, or
                can't do it.
        """
        self._breaker.check()
        client, _ = self.client()
        is_write, begun = method in _WRITES, Moment.now()
        if is_write:
            self._source.check_writable()
        try:
            with _translated(method):
                answer = getattr(client, method)(*arguments, timeout=timeout, **named)
        except MilvusAway as error:
            self._breaker.open(error.message)
            raise
        finally:
            if is_write:
                self._source.note_write(begun)
        if self._source.goes_by_wall_clock and begun.was_set_back:
            return self.call(method, *arguments, timeout=timeout, **named)
        return answer

    def reload(self) -> None:
        """Have an embedded file read anew. Raises VectorStoreUnavailable."""
        self._source.reload()

    def _reach(self) -> None:
        client, _ = self.client()
        with _translated("list_collections"):
            client.list_collections(timeout=REACH_TIMEOUT_S)

    def close(self) -> None:
        """Let go of the server, or stop Milvus Lite and release its file."""
        self._breaker.end()
        self._source.close()


class _ServerClient:
    """A client of a Milvus server, which anybody may use at the same time.

    The server keeps its own time, and its files, whatever happens here.
    """

    incidents = 0
    goes_by_wall_clock = False

    def __init__(self, server: MilvusServer) -> None:
        try:
            self._client = MilvusClient(
                uri=server.uri, token=server.token, timeout=CONNECT_TIMEOUT_S, dedicated=True
            )
        except (MilvusException, grpc.RpcError) as error:
            setting, hint = "PRODUCT_SEARCH_MILVUS_URI", "请检查地址、令牌与网络"
            raise VectorStoreUnavailable(
                f"{setting}：无法连接 Milvus 服务器 {server.uri}：{hint}"
            ) from error

    def client(self) -> tuple[MilvusClient, int]:
        return self._client, 1

    def check_writable(self) -> None:
        """Do nothing: the server says so itself."""

    def note_write(self, begun: Moment) -> None:
        """Do nothing."""

    def reload(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        self._client.close()


@contextmanager
def _translated(method: str) -> Iterator[None]:
    try:
        yield
    # ValueError: grpc's, of a channel that another thread has closed to start Milvus Lite again.
    except (MilvusException, grpc.RpcError, ValueError) as error:
        log.debug("Milvus %s: %s", method, error)
        if getattr(error, "code", None) == ErrorCode.COLLECTION_NOT_FOUND:
            raise VectorStoreUnavailable(COLLECTION_GONE) from error
        kind = MilvusAway if _is_away(error) else VectorStoreUnavailable
        raise kind(NOT_AVAILABLE) from error


def _is_away(error: Exception) -> bool:
    """Return whether Milvus has not answered, rather than refused."""
    code = getattr(error, "code", None)  # a method of gRPC's errors
    return (code() if callable(code) else code) in _NO_ANSWER
