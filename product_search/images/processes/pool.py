"""Processes that decode what may cost more than its pixels: one file each at a time."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from product_search.errors import AppError, ImageTooComplex, InvalidImage, Overloaded
from product_search.images.budget import Budget, allowance
from product_search.images.processes import messages
from product_search.images.processes.messages import Decoded, Leave, Region

log = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[3]  # the folder that holds the package
_MODULE = "product_search.images.processes.decoder"
_ENDING_S = 10.0
_OUT_OF_TIME = (-signal.SIGPROF, -signal.SIGALRM)
# Honest files take at most a third of it (docs/decisions/0031).
_MIN_CPU_S, _BYTES_A_CPU_S = 5.0, 75_000_000


def cpu_limit_s(memory: int) -> float:
    """Return how long a processor may work on an image that takes this much memory."""
    return _MIN_CPU_S + memory / _BYTES_A_CPU_S


class DecodingProcesses:
    """Processes that are started when they are needed, and started anew where one has ended."""

    def __init__(self, count: int, memory: int) -> None:
        """Start none yet.

        Args:
            count: how many there are at most.
            memory: bytes that all of them may take together for images.
        """
        self._turns = Budget(count)
        self._memory = Budget(memory)
        self._idle: list[_Process] = []

    def decode(self, content: bytes, region: Region | None) -> Decoded:
        """Decode the file in one of the processes. Raises as `decoding.decode`."""
        if allowance().decoding_s <= 0:
            raise ImageTooComplex("图片过于复杂：请求里的图片解码费时过长")
        with self._turns.reserve(1):
            while True:
                process = self._take()
                try:
                    return self._decode(process, content, region)
                except _HadRetired:
                    continue

    def _take(self) -> _Process:
        while True:
            try:
                process = self._idle.pop()
            except IndexError:
                return _Process()
            if process.is_alive():
                return process
            process.end()

    def _decode(self, process: _Process, content: bytes, region: Region | None) -> Decoded:
        is_ready = False
        try:
            decoded = process.decode(content, region, self._memory)
            is_ready = True
            return decoded
        except AppError:
            is_ready = True
            raise
        except (EOFError, OSError) as error:
            raise process.reason() from error
        finally:
            if is_ready:
                self._idle.append(process)
            else:
                process.end()


class _HadRetired(Exception):
    """The process had ended before it was asked: there had been nothing to do."""


@contextmanager
def _allowed_s(most: float) -> Iterator[float]:
    """Yield the seconds that the block may work, and take those it did from the allowance."""
    allowed, begun = allowance(), time.monotonic()
    try:
        yield min(most, allowed.decoding_s)
    finally:
        allowed.decoding_s -= time.monotonic() - begun


class _Process:
    """A running process, and the pipe to it."""

    def __init__(self) -> None:
        self._connection, theirs = self._pipe()
        with theirs:
            descriptor = theirs.fileno()
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", _MODULE, str(descriptor)],
                    cwd=_ROOT,
                    pass_fds=[descriptor],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError as error:
                self._connection.close()
                raise _no_process(error) from error
        atexit.register(self.end)

    @staticmethod
    def _pipe() -> tuple[Connection, Connection]:
        try:
            return Pipe()
        except OSError as error:
            raise _no_process(error) from error

    def decode(self, content: bytes, region: Region | None, budget: Budget) -> Decoded:
        """Decode the file once the budget has room for it, within the budget.

        Raises:
            EOFError, OSError: the process has ended.
            AppError: the file can't be decoded, or there was no room.
        """
        talk = self._connection
        talk.send_bytes(messages.request(content, region))
        memory = min(messages.read_memory(talk.recv_bytes()), budget.total)
        try:
            with budget.reserve(memory), _allowed_s(cpu_limit_s(memory)) as cpu_s:
                talk.send_bytes(messages.leave(Leave(cpu_s, memory)))
                return messages.read_image(talk.recv_bytes())
        except Overloaded:
            talk.send_bytes(messages.leave(None))
            raise

    def is_alive(self) -> bool:
        """Tell whether the process waits for the next file."""
        return self._process.poll() is None

    def reason(self) -> Exception:
        """Return what the end of the process says of the file."""
        status = self._process.wait(_ENDING_S)
        if status == 0:
            return _HadRetired()
        if status in _OUT_OF_TIME:
            return ImageTooComplex("图片过于复杂：解码费时过长")
        log.warning("a decoding process ended with %d: its image is refused", status)
        return InvalidImage("图片已损坏或不完整")

    def end(self) -> None:
        """End the process, whatever it does."""
        atexit.unregister(self.end)
        self._connection.close()
        self._process.kill()
        self._process.wait()


def _no_process(error: OSError) -> Overloaded:
    log.warning("no process can be started to decode an image: %s", error)
    return Overloaded(Overloaded.example)


def default_count() -> int:
    """Return how many processes a machine is worth: two, so that none waits behind one alone."""
    return max(2, min(4, os.cpu_count() or 1))
