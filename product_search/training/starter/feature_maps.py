"""The untrained half of the network over every view of every image, once, on all cores."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from product_search.encoders.starter import network_pixels
from product_search.training.starter.images import drawing_views, photo_views
from product_search.training.starter.network import MAP_SHAPE, open_session

log = logging.getLogger(__name__)

Maps = NDArray[np.float16]
PROCESSES = 2


@dataclass(frozen=True)
class Shown:
    """An image to show in `views` ways; a drawing is laid on `grounds`, a photo has none."""

    path: Path
    views: int
    seed: int
    grounds: tuple[Path, ...] = ()


_session: onnxruntime.InferenceSession


def trunk_maps(trunk: Path, shown: Sequence[Shown], target: Path) -> Maps:
    """Float16 (images, views, *MAP_SHAPE), in a file that is mapped into memory."""
    shape = (len(shown), shown[0].views, *MAP_SHAPE)
    maps: Maps = np.lib.format.open_memmap(target, "w+", np.float16, shape)
    with multiprocessing.Pool(PROCESSES, _open, (trunk,)) as pool:
        for index, part in enumerate(pool.imap(_maps_of, shown, chunksize=8)):
            maps[index] = part
            if (index + 1) % 1000 == 0 or index + 1 == len(shown):
                log.info("%s: %d of %d pictures seen", target.stem, index + 1, len(shown))
    return maps


def _open(trunk: Path) -> None:
    global _session  # one for each process of the pool
    _session = open_session(trunk, threads=1)


def _maps_of(shown: Shown) -> Maps:
    if shown.grounds:
        views = drawing_views(shown.path, shown.grounds, shown.views, shown.seed)
    else:
        views = photo_views(shown.path, shown.views, shown.seed)
    (maps,) = _session.run(["maps"], {"pixels": network_pixels(views)})
    return np.asarray(maps, np.float16)
