"""Attacks on what the service stands on: its disk, its clock, its files of Milvus."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from benchmarks.hostile import files
from benchmarks.hostile.searches import found_after
from benchmarks.hostile.stand import SEED, Environment, Stand
from benchmarks.rig import pictures
from benchmarks.rig.folders import fresh
from tests.wall_clock import WallClock

_MOST_S = 60.0
_BACK_S = 3600
_TITLES = 40
_ROOM_MB = 24  # beyond what the data takes, before the disk is filled
# The data folder is copied into a file system of its own, which only the service sees.
_SMALL = """
mkdir "$1.full" && cp -a "$1/." "$1.full" && mount -t tmpfs -o "size=$0m" tmpfs "$1" &&
cp -a "$1.full/." "$1" && rm -rf "$1.full" && shift && exec "$@"
"""


def on_a_small_disk(
    command: list[str], environment: Environment, data: Path
) -> tuple[list[str], Environment]:
    """Start the service with its data on a small file system."""
    size = sum(path.stat().st_size for path in data.rglob("*") if path.is_file()) / 2**20
    shutil.rmtree(f"{data}.full", ignore_errors=True)
    within = ["unshare", "-rm", "sh", "-c", _SMALL, str(int(2 * size + _ROOM_MB)), str(data)]
    return [*within, *command], environment


def full_disk(stand: Stand) -> list[str]:
    """Fill the disk, write and import, then make room again."""
    disk = Path(f"/proc/{stand.server.process.pid}/root{stand.data}")
    filler = disk / "filler"
    _fill(filler)
    title = {"title": "满盘"}
    _tried(stand, "POST /product", "POST", "/product", json=title)
    shown = {"image": ("a.jpg", next(pictures.pictures(SEED, 1)))}
    _tried(stand, "POST /product, a picture", "POST", "/product", data=title, files=shown)
    _tried(stand, "PATCH", "PATCH", "/product/1", json=title)
    rows = fresh("full") / "rows.csv"
    files.write_rows(rows, SEED, 2000)
    with rows.open("rb") as stream:
        _tried(stand, "POST /product/import", "POST", "/product/import", files={"file": stream})
    _tried(stand, "POST /search", "POST", "/search", json={"text": "双肩包"})
    seen = [f"health: {stand.health()}"]
    stand.wait_out()
    filler.unlink()
    later = "腾出空间之后的双肩包"
    answer = stand.create(later)
    seen.append(f"with room again POST /product: {answer and answer.status_code}")
    return [*seen, found_after("it", stand.seconds_until_found(later, _MOST_S), _MOST_S)]


def _fill(path: Path) -> None:
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while stream.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue


def _tried(stand: Stand, what: str, method: str, path: str, **content: object) -> None:
    began = time.monotonic()
    try:
        answer = httpx.request(method, f"{stand.url}{path}", timeout=120, **content)  # type: ignore[arg-type]
    except httpx.TransportError:
        told = "broken"
    else:
        told = str(answer.status_code)
    stand.answers.note(f"{what}: {told}", time.monotonic() - began)


_CLOCKS: dict[Path, WallClock] = {}


def on_a_clock(
    command: list[str], environment: Environment, data: Path
) -> tuple[list[str], Environment]:
    """Start the service, and its Milvus Lite, on a wall clock that can be set back."""
    clock = _CLOCKS[data] = WallClock(fresh("clock"))
    return command, {**environment, **clock.environment}


def clock_set_back(stand: Stand) -> list[str]:
    """Set the clock back by an hour, then delete some products, create others, look for all."""
    kept = _created(stand, "之前")
    _indexed(stand, kept[-1])
    _CLOCKS[stand.data].set_back(_BACK_S)
    gone, kept = kept[: _TITLES // 4], kept[_TITLES // 4 :]
    for title in gone:
        (one,) = _ids(stand, title)
        answer = stand.ask(("DELETE", f"/product/{one}", None))
        stand.answers.note(f"DELETE: {answer and answer.status_code}", 0.0)
    late = _created(stand, "之后")
    seen = []
    for wait_s in (stand.seconds, _MOST_S):
        time.sleep(max(0.0, stand.begun + wait_s - time.monotonic()))
        seen.append(f"after {wait_s:.0f} s {_looked_for(stand, kept, late, gone)}")
    return [*seen, *stand.warnings()[-3:]]


def _created(stand: Stand, when: str) -> list[str]:
    titles = [f"钟表 {number} 号 {when}的商品" for number in range(_TITLES)]
    for title in titles:
        answer = stand.create(title)
        stand.answers.note(f"POST: {answer and answer.status_code}", 0.0)
    return titles


def _indexed(stand: Stand, title: str) -> None:
    if stand.seconds_until_found(title, _MOST_S) is None:
        raise RuntimeError("nothing is indexed")


def _ids(stand: Stand, title: str) -> list[int]:
    answer = stand.ask(("GET", f"/product/list?category={title[-100:]}", None))
    assert answer is not None
    return [item["product_id"] for item in answer.json()["items"]]


def _looked_for(stand: Stand, kept: Sequence[str], late: Sequence[str], gone: Sequence[str]) -> str:
    found = [sum(map(stand.finds, titles)) for titles in (kept, late, gone)]
    return (
        f"found {found[0]} of {len(kept)} older products, {found[1]} of {len(late)} newer ones, "
        f"{found[2]} of {len(gone)} deleted; health: {stand.health()}"
    )


def milvus_files_gone(stand: Stand) -> list[str]:
    """Remove Milvus's files while it runs; then create a product, and search."""
    for path in stand.data.glob("milvus.db*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif not path.name.endswith(".owner"):
            path.unlink()
    title = "文件没了之后的双肩包"
    answer = stand.create(title)
    seen = [f"POST /product: {answer and answer.status_code}"]
    seen.append(found_after("it", stand.seconds_until_found(title, _MOST_S), _MOST_S))
    known = stand.ask(("POST", "/search", {"mode": "text_to_text", "text": "双肩包"}))
    hits = "" if known is None or not known.is_success else f", {len(known.json()['hits'])} hits"
    seen.append(f"POST /search: {known and known.status_code}{hits}")
    seen.append(f"health: {stand.health()}")
    kept = "is there again" if (stand.data / "milvus.db").exists() else "is not there: all is lost"
    return [*seen, f"at the next start Milvus's file {kept}", *stand.warnings()[-3:]]
