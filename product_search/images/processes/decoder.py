"""The process that decodes for another one, a file at a time: `python -m … DESCRIPTOR`."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from product_search.errors import AppError
from product_search.heap import give_back_free_memory
from product_search.images.decoding import render
from product_search.images.formats import open_header, readers
from product_search.images.processes import messages
from product_search.images.processes.messages import Decoded, Leave

IDLE_S = 300.0  # after which the process ends; the next image starts another
_NICENESS = 5  # the searches and the encoders come first
_OPENING = Leave(cpu_s=3.0, memory=256 * 1024 * 1024)  # to read a header
_MAX_WALL_S = 120  # for what waits without working, which nothing is known to do
# Beside what the pixels take: the stacks and heaps of a decoder's threads, one on each core.
_SPARE_BYTES, _SPARE_BYTES_OF_A_CORE = 128 * 1024 * 1024, 16 * 1024 * 1024
_STATUS = Path("/proc/self/status")


def main(descriptor: int) -> None:
    """Decode what comes through the pipe, until it is closed or nothing came for long."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)  # the owner finishes its work first
    os.nice(_NICENESS)
    readers()  # loaded under no limit
    connection = Connection(descriptor)
    with suppress(EOFError, OSError):
        while connection.poll(IDLE_S):
            _serve(connection)
            give_back_free_memory()


def _serve(connection: Connection) -> None:
    """Answer a request: how much memory it takes, then, with leave, the image, or an error."""
    content, region = messages.read_request(connection.recv_bytes())
    begun = time.process_time()
    try:
        with _limited(_OPENING):
            header, memory = open_header(content)
        connection.send_bytes(messages.memory(memory))
        leave = messages.read_leave(connection.recv_bytes())
        if leave is None:
            return
        with _limited(leave):
            image = render(header, content, region)
    except AppError as error:
        connection.send_bytes(messages.error(error))
        return
    connection.send_bytes(messages.image(Decoded(image, time.process_time() - begun)))


@contextmanager
def _limited(leave: Leave) -> Iterator[None]:
    """Let the block take no more than this; beyond its time the process ends, within C too."""
    signal.setitimer(signal.ITIMER_PROF, leave.cpu_s)
    signal.alarm(_MAX_WALL_S)
    _limit_memory(leave.memory)
    try:
        yield
    finally:
        _limit_memory(None)
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)


def _limit_memory(more: int | None) -> None:
    """Let the process take so many bytes more than it has; beyond them it gets none."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    held = _held_bytes()
    if more is None or held is None:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
        return
    most = held + more + _SPARE_BYTES + _SPARE_BYTES_OF_A_CORE * (os.cpu_count() or 1)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _held_bytes() -> int | None:
    """Return what the process has of what the limit counts; None on systems that don't tell."""
    if not _STATUS.exists():
        return None
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
