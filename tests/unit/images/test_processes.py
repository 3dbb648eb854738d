"""Processes that decode: ended at their limits, started anew, and never more than there are."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from product_search.errors import ImageTooComplex, InvalidImage, Overloaded, RegionOutsideImage
from product_search.images.budget import Allowance, Budget, allowing
from product_search.images.processes import pool
from product_search.images.processes.pool import DecodingProcesses
from tests.unit.pictures import COLOURS, bomb_header, encoded, four_colours

TIFF = encoded(four_colours(), "TIFF")
GIGABYTE = 1_000_000_000


def large_tiff(side: int) -> bytes:
    return encoded(Image.new("RGB", (side, side), (9, 90, 9)), "TIFF", compression="tiff_deflate")


def pids(processes: DecodingProcesses) -> list[int]:
    return [one._process.pid for one in processes._idle]


@pytest.fixture(scope="module")
def processes() -> Any:
    processes = DecodingProcesses(1, GIGABYTE)
    yield processes
    for one in processes._idle:
        one.end()


def test_an_image_or_a_region_of_it_comes_back_with_what_it_cost(
    processes: DecodingProcesses,
) -> None:
    decoded = processes.decode(TIFF, None)
    assert (decoded.image.mode, decoded.image.size) == ("RGB", (48, 32))
    assert decoded.image.getpixel((8, 8)) == COLOURS[0]
    assert decoded.cpu_s > 0
    part = processes.decode(TIFF, (24, 0, 24, 16)).image
    assert (part.size, part.getpixel((9, 9))) == ((24, 16), COLOURS[1])


def test_a_file_that_is_refused_costs_no_process(processes: DecodingProcesses) -> None:
    processes.decode(TIFF, None)
    before = pids(processes)
    with pytest.raises(RegionOutsideImage, match="48 × 32"):
        processes.decode(TIFF, (24, 0, 99, 16))
    with pytest.raises(InvalidImage):
        processes.decode(b"no image", None)
    assert pids(processes) == before


def test_an_image_that_takes_too_long_is_given_up_and_the_next_is_decoded(
    processes: DecodingProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = large_tiff(4_000)
    monkeypatch.setattr(pool, "cpu_limit_s", lambda _: 0.05)
    with pytest.raises(ImageTooComplex, match="费时"):
        processes.decode(content, None)
    monkeypatch.undo()
    assert processes.decode(TIFF, None).image.size == (48, 32)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the limit needs /proc")
def test_an_image_that_takes_more_memory_than_there_is_is_given_up() -> None:
    narrow = DecodingProcesses(1, 1_000_000)
    with pytest.raises(ImageTooComplex, match="内存"):
        narrow.decode(bomb_header(14_000, 14_000), None)
    assert narrow.decode(TIFF, None).image.size == (48, 32)


def test_a_process_that_has_ended_is_started_anew(processes: DecodingProcesses) -> None:
    processes.decode(TIFF, None)
    (before,) = pids(processes)
    os.kill(before, signal.SIGKILL)
    processes._idle[0]._process.wait(30)
    assert processes.decode(TIFF, None).image.size == (48, 32)
    assert pids(processes) != [before]


def test_a_process_that_dies_over_a_file_refuses_it(
    processes: DecodingProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes.decode(TIFF, None)
    (pid,) = pids(processes)

    def kill(_memory: int) -> float:
        os.kill(pid, signal.SIGKILL)
        return 9.0

    monkeypatch.setattr(pool, "cpu_limit_s", kill)
    with pytest.raises(InvalidImage):
        processes.decode(TIFF, None)
    assert pids(processes) == []


def test_who_waits_too_long_for_a_process_or_for_memory_is_told_so() -> None:
    processes = DecodingProcesses(1, GIGABYTE)
    with processes._turns.reserve(1), allowing(Allowance(0.01)), pytest.raises(Overloaded):
        processes.decode(TIFF, None)
    with processes._memory.reserve(GIGABYTE), allowing(Allowance(0.01)), pytest.raises(Overloaded):
        processes.decode(TIFF, None)
    assert processes.decode(TIFF, None).image.size == (48, 32)
    assert len(pids(processes)) == 1


def test_the_images_of_a_request_share_its_time(
    processes: DecodingProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, allowance = large_tiff(4_000), Allowance(decoding_s=99.0)
    with allowing(allowance):
        processes.decode(content, None)
        assert allowance.decoding_s < 99.0
        allowance.decoding_s = 0.02
        with pytest.raises(ImageTooComplex, match="费时"):
            processes.decode(content, None)
        before = pids(processes)
        with pytest.raises(ImageTooComplex, match="费时"):
            processes.decode(content, None)
        assert pids(processes) == before
    assert processes.decode(TIFF, None).image.size == (48, 32)


def test_a_refused_wait_leaves_the_others_their_turns() -> None:
    budget, entered = Budget(10), threading.Event()

    def enter() -> None:
        with budget.reserve(10):
            entered.set()

    with ThreadPoolExecutor(1) as other:
        with budget.reserve(5):
            with allowing(Allowance(0.01)), pytest.raises(Overloaded), budget.reserve(10):
                pass
            waiting = other.submit(enter)
        waiting.result(30)
    assert entered.is_set()
