"""Maps of the trunk for every view of every image, computed once, on all cores."""

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

FeatureMaps = NDArray[np.float16]
PROCESSES = 2


@dataclass(frozen=True)
class ViewSpec:
    """How many views of an image to make; only a drawing has `backgrounds`."""

    path: Path
    views: int
    seed: int
    backgrounds: tuple[Path, ...] = ()


_session: onnxruntime.InferenceSession


def compute_maps(trunk: Path, specs: Sequence[ViewSpec], target: Path) -> FeatureMaps:
    """Compute float16 (images, views, *MAP_SHAPE) in a file that is mapped into memory."""
    shape = (len(specs), specs[0].views, *MAP_SHAPE)
    maps: FeatureMaps = np.lib.format.open_memmap(target, "w+", np.float16, shape)
    with multiprocessing.Pool(PROCESSES, _open, (trunk,)) as pool:
        for index, part in enumerate(pool.imap(_maps_of, specs, chunksize=8)):
            maps[index] = part
            if (index + 1) % 1000 == 0 or index + 1 == len(specs):
                log.info("%s: %d of %d pictures seen", target.stem, index + 1, len(specs))
    return maps


def _open(trunk: Path) -> None:
    global _session  # one for each process of the pool
    _session = open_session(trunk, threads=1)


def _maps_of(spec: ViewSpec) -> FeatureMaps:
    if spec.backgrounds:
        views = drawing_views(spec.path, spec.backgrounds, spec.views, spec.seed)
    else:
        views = photo_views(spec.path, spec.views, spec.seed)
    (maps,) = _session.run(["maps"], {"pixels": network_pixels(views)})
    return np.asarray(maps, np.float16)
