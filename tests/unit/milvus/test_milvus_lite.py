"""The lock beside a Milvus file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from product_search.milvus.milvus_lite import FileLock, VectorFileBusy


def test_a_lock_says_who_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "milvus.db"
    first, second = FileLock(path), FileLock(path)
    assert first.holder() is None
    first.acquire("http://127.0.0.1:8000")
    with pytest.raises(VectorFileBusy) as caught:
        second.acquire("somebody else")
    holder = second.holder()
    first.release()
    assert caught.value.holder == holder
    assert holder is not None
    assert "http://127.0.0.1:8000" in holder
    assert str(os.getpid()) in holder
    assert str(path) in str(caught.value)


def test_a_released_lock_can_be_taken_by_another(tmp_path: Path) -> None:
    path = tmp_path / "milvus.db"
    first, second = FileLock(path), FileLock(path)
    first.acquire("a long address, longer than the other")
    first.release()
    assert second.holder() is None
    second.acquire("b")
    holder = first.holder()
    second.release()
    second.release()
    assert holder is not None
    assert holder.startswith("b")
    assert "longer" not in holder
    assert first.holder() is None
