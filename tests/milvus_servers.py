"""A Milvus that is reached over the network: Milvus Lite's server on a port of this machine."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from pymilvus import MilvusClient, MilvusException

from product_search.milvus.lite_process import LiteProcess
from product_search.milvus.options import MilvusServer
from tests.servers import free_port

_START_S = 30.0


class _Elsewhere(LiteProcess):
    """As if on a machine of its own, whose clock no test sets back: see wall_clock.py."""

    @property
    def args(self) -> list[str]:
        """See LiteProcess."""
        env, *rest = super().args
        return [env, "--unset=LD_PRELOAD", *rest]


class NetworkMilvus:
    """A server in a process of its own, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "server.db"
        self._port = free_port()
        self._server: Any = None
        self.start()

    @property
    def place(self) -> MilvusServer:
        """Where it is."""
        return MilvusServer(f"http://127.0.0.1:{self._port}")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._server = _Elsewhere(self._file, f"127.0.0.1:{self._port}")
        assert self._server.init()
        assert self._server.start()
        deadline = time.monotonic() + _START_S
        while True:
            try:
                MilvusClient(self.place.uri, timeout=1, dedicated=True).close()
            except MilvusException:
                assert time.monotonic() < deadline, "Milvus does not answer"
                time.sleep(0.1)
            else:
                return

    def pause(self) -> None:
        """Let it answer nothing, as a machine that swaps does."""
        self._server._p.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._server._p.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash would; what it holds stays."""
        if self._server._p is not None:  # else it is down already
            self._server._p.kill()
        self._server.stop()
