"""The clock of writes: how far it is behind the last one."""

from __future__ import annotations

import pytest

from product_search.milvus import wall_clock
from product_search.milvus.wall_clock import Moment, WriteClock


class Wall:
    """A wall clock that the test sets."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    wall = Wall()
    monkeypatch.setattr(wall_clock, "wall_time", wall)
    return wall


def test_a_clock_that_goes_on_is_never_behind(wall: Wall) -> None:
    clock = WriteClock(wall.time)
    for _ in range(3):
        clock.note_write(Moment.now())
        assert clock.behind_s == 0
        wall.time += 86_400


def test_a_clock_before_the_last_write_is_behind_until_it_has_passed_it(wall: Wall) -> None:
    clock = WriteClock(0.0)
    clock.note_write(Moment.now())
    wall.time -= 2
    assert clock.behind_s == pytest.approx(2, abs=0.1)
    wall.time += clock.behind_s
    assert clock.behind_s == 0


def test_a_clock_that_is_set_back_during_a_write_is_behind_its_stamp(wall: Wall) -> None:
    clock = WriteClock(0.0)
    begun = Moment.now()
    wall.time -= 60
    assert begun.was_set_back
    clock.note_write(begun)
    assert clock.behind_s == pytest.approx(60, abs=1)


def test_a_step_back_to_after_the_last_write_hides_nothing(wall: Wall) -> None:
    clock = WriteClock(0.0)
    clock.note_write(Moment.now())
    wall.time += 3600
    wall.time -= 1800
    assert clock.behind_s == 0


def test_an_accepted_step_is_behind_no_longer(wall: Wall) -> None:
    clock = WriteClock(wall.time)
    wall.time -= 3600
    clock.accept()
    assert clock.behind_s == 0
    clock.note_write(Moment.now())
    wall.time -= 60
    assert clock.behind_s == pytest.approx(60, abs=1)
