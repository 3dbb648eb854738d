"""The embedded Milvus file: one process holds it, and keeps its Milvus Lite running and right."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import threading
import time
from pathlib import Path
from typing import IO, Any

from pymilvus import MilvusClient, MilvusException

from product_search.errors import StartError, VectorStoreUnavailable
from product_search.milvus.wall_clock import WAIT_S, Moment, WriteClock

log = logging.getLogger(__name__)

NOT_AVAILABLE = "向量库暂时不可用，请稍后重试"
LOCK_PATIENCE_S = 0.5
# The Milvus Lite of a process that was killed gives the file up a moment after it.
START_PATIENCE_S = 10.0
RESTART_PATIENCE_S = 2.0
RESTART_PAUSE_S = 5.0
# Milvus Lite answers that a row is written also where its file had no room for it.
ROOM_BYTES = 32 * 1024 * 1024
# pymilvus pings each 10 s; Milvus Lite takes that for an attack and hangs up ("too_many_pings").
_NEVER_MS = 2**31 - 1
# pymilvus knows a file by its ending; Milvus Lite bounds the name.
_NAME = re.compile(r"[a-zA-Z0-9.\-_]{1,32}\.db")


class VectorFileBusy(StartError):
    """Another process holds the embedded Milvus file; `holder` is what its lock file says."""

    def __init__(self, path: Path, holder: str) -> None:
        """Name the file and its holder."""
        super().__init__(f"{path} 正由另一个进程使用（{holder}）：Milvus Lite 一次只容一个进程")
        self.holder = holder


class FileLock:
    """Lock on an embedded Milvus file; its lock file says which process holds it, and where.

    The lock ends with its process. Readers of the holder take a shared lock, and write nothing.
    """

    def __init__(self, milvus_path: Path) -> None:
        """Prepare the lock of this Milvus file; nothing is opened yet."""
        self._milvus_path = milvus_path
        self._path = milvus_path.with_name(milvus_path.name + ".owner")
        self._stream: IO[str] | None = None

    def acquire(self, address: str) -> None:
        """Take the lock, and write our address and process into it, or raise VectorFileBusy."""
        stream = self._path.open("a+", encoding="utf-8")
        # `holder` of another process has it for a moment too: one refusal says nothing.
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while not _flock(stream, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                stream.seek(0)
                holder = stream.read()
                stream.close()
                raise VectorFileBusy(self._milvus_path, holder)
            time.sleep(0.05)
        stream.truncate(0)
        stream.write(f"{address} (pid {os.getpid()})")
        stream.flush()
        self._stream = stream

    def release(self) -> None:
        """Let another process take the lock."""
        if self._stream is not None:
            self._stream.truncate(0)
            self._stream.close()
            self._stream = None

    def holder(self) -> str | None:
        """Return what the process that holds the lock wrote into it; None where nobody holds it."""
        if not self._path.exists():
            return None
        with self._path.open(encoding="utf-8") as stream:
            return None if _flock(stream, fcntl.LOCK_SH) else stream.read()


def _flock(stream: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class MilvusLiteFile:
    """Milvus Lite on a file, in a child process that is started again where it has to be.

    It has to where it has ended, where its file is gone or another, and where the wall clock was
    set back. What it shows afterwards may be less than what was written: `incidents` counts that.
    """

    goes_by_wall_clock = True

    def __init__(self, path: Path, address: str) -> None:
        """Hold the file until `close`.

        Raises:
            VectorFileBusy: another process holds the file.
            StartError: no file can have this name.
            VectorStoreUnavailable: Milvus Lite does not start.
        """
        if _NAME.fullmatch(path.name) is None:
            raise StartError(
                f"PRODUCT_SEARCH_MILVUS_URI：Milvus 文件名 {path.name} 不可用："
                "须以 .db 结尾，只含字母、数字与 . - _，最多 35 个字符"
            )
        self._path, self._address = path, address
        self._lock = FileLock(path)
        self._acquire()
        self._starting = threading.Lock()
        self._starts = 1
        self._not_before = 0.0
        self._clock = WriteClock(_written_at(path))
        self.incidents = 0
        try:
            self._wait_for_clock()
            if self._clock.behind_s:
                self._accept_clock()
                self.incidents = 1
            self._server, self._client = _start(path, START_PATIENCE_S)
        except BaseException:  # Ctrl-C too must not leave the file locked
            self._lock.release()
            raise
        self._identity = _identity(path)

    def _acquire(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(self._address)
        except OSError as error:
            reason = f"Milvus 文件 {self._path} 无法使用：{error}"
            raise StartError(f"PRODUCT_SEARCH_MILVUS_URI：{reason}") from error

    def client(self) -> tuple[MilvusClient, int]:
        """Return a client of the running Milvus Lite, and how many times it has been started."""
        self._wait_for_clock()
        with self._starting:
            if reason := self._reason_to_restart():
                self._restart(reason)
            return self._client, self._starts

    def check_writable(self) -> None:
        """Raise VectorStoreUnavailable where the file can't take what is about to be written."""
        try:
            disk = os.statvfs(self._path.parent)
        except OSError as error:
            raise VectorStoreUnavailable(f"向量库的文件夹读不到：{error.strerror}") from error
        if disk.f_flag & os.ST_RDONLY:
            raise VectorStoreUnavailable("向量库所在的磁盘是只读的，暂时不能建立索引")
        if disk.f_bavail * disk.f_frsize < ROOM_BYTES:
            raise VectorStoreUnavailable("向量库所在的磁盘已满，腾出空间后会继续建立索引")

    def note_write(self, begun: Moment) -> None:
        """Note that a write which began then has ended now, well or not."""
        self._clock.note_write(begun)

    def _wait_for_clock(self) -> None:
        while 0 < (behind := self._clock.behind_s) <= WAIT_S:
            log.warning("the wall clock was set back: Milvus Lite waits for %.2f s", behind)
            time.sleep(behind)

    def _accept_clock(self) -> None:
        log.warning(
            "the wall clock is %.0f s before the last write to %s: Milvus Lite hides what was"
            " written since, which is indexed anew",
            self._clock.behind_s,
            self._path,
        )
        self._clock.accept()

    def _reason_to_restart(self) -> str | None:
        if _has_ended(self._server):
            return "it has ended"
        if _identity(self._path) != self._identity:
            return "its file was removed or replaced while it ran"
        if self._clock.behind_s:
            return "the wall clock was set back"
        return None

    def _restart(self, reason: str) -> None:
        if time.monotonic() < self._not_before:  # callers queue here: not each of them waits
            raise VectorStoreUnavailable(NOT_AVAILABLE)
        log.warning("Milvus Lite is started again on %s: %s", self._path, reason)
        self._stop()
        try:
            if _identity(self._path) is None:  # perhaps with the whole folder, and the lock
                self._lock.release()
                self._acquire()
            self._start_again()
        except (StartError, VectorStoreUnavailable) as error:
            log.warning("%s", error)
            self._not_before = time.monotonic() + RESTART_PAUSE_S
            raise VectorStoreUnavailable(NOT_AVAILABLE) from error
        if self._clock.behind_s:
            self._accept_clock()
        self.incidents += 1

    def reload(self) -> None:
        """Have Milvus Lite read its file anew. Raises VectorStoreUnavailable."""
        with self._starting:
            self._stop()
            self._start_again()

    def _stop(self) -> None:
        self._client.close()
        self._server.stop()

    def _start_again(self) -> None:
        self._server, self._client = _start(self._path, RESTART_PATIENCE_S)
        self._identity = _identity(self._path)
        self._starts += 1

    def close(self) -> None:
        """Stop Milvus Lite and let another process have the file."""
        self._stop()
        self._lock.release()


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells the file from any other; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _written_at(path: Path) -> float:
    """Return when the file was last written to, in seconds since 1970; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _has_ended(server: Any) -> bool:
    # Milvus Lite tells nobody; its process is all that can be asked.
    return server._p is None or server._p.poll() is not None


def _start(path: Path, patience_s: float) -> tuple[Any, MilvusClient]:
    """Start Milvus Lite on the file; return it and a client of it."""
    from product_search.milvus.lite_process import LiteProcess  # only for a file

    deadline = time.monotonic() + patience_s
    while True:
        server = LiteProcess(path)
        cause: MilvusException | None = None
        if server.init() and server.start():
            try:
                options = {"grpc.keepalive_time_ms": _NEVER_MS}
                return server, MilvusClient(
                    uri=server.uds_path, dedicated=True, grpc_options=options
                )
            except MilvusException as error:
                cause = error
        server.stop()
        if time.monotonic() > deadline:
            raise VectorStoreUnavailable(
                f"PRODUCT_SEARCH_MILVUS_URI：无法打开 Milvus 文件 {path}：文件可能已损坏。"
                "移走它再启动，服务会由数据库重新建立索引"
            ) from cause
        time.sleep(0.2)
