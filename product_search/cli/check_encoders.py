"""`manage check-encoders`: does int8 agree with float32 on this machine's checkpoints?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from product_search.encoders.agreement import (
    LEAST,
    LEAST_MEAN,
    Agreement,
    bge_agreement,
    clip_agreement,
    sample_images,
    sample_texts,
)
from product_search.encoders.checkpoints import has_weights, set_float_only
from product_search.settings import ROOT, Settings

log = logging.getLogger(__name__)


def check_encoders(settings: Settings) -> int:
    """Compare the checkpoints that a CPU uses in int8 with PyTorch in float32; return 1 if unlike.

    A checkpoint that is unlike is marked: from its next start a service uses it in float32.
    """
    code = 0
    for folder, compare in _checkpoints(settings):
        found = compare(folder)
        for what, agreement in found.items():
            log.info(
                "%s：%s %d 个，int8 与 float32 的余弦平均 %.4f，最小 %.4f",
                folder, what, agreement.count, agreement.mean, agreement.least,
            )  # fmt: skip
        if all(agreement.is_close for agreement in found.values()):
            set_float_only(folder, None)
            continue
        reason = f"int8 与 float32 不一致（应平均 ≥ {LEAST_MEAN}，最小 ≥ {LEAST}）"
        set_float_only(folder, reason)
        log.error("%s：%s；在 CPU 上将改用 float32，重启服务后生效", folder, reason)
        code = 1
    return code


def _checkpoints(
    settings: Settings,
) -> Iterator[tuple[Path, Callable[[Path], dict[str, Agreement]]]]:
    for folder in (settings.clip_dir, settings.downloaded_clip):
        if folder and has_weights(folder):
            yield folder, _compare_clip
    for folder in (settings.bge_dir, settings.downloaded_bge):
        if folder and has_weights(folder):
            yield folder, _compare_bge


def _compare_clip(folder: Path) -> dict[str, Agreement]:
    texts, images = clip_agreement(folder, sample_texts(ROOT), sample_images(ROOT))
    return {"文字": texts, "图片": images}


def _compare_bge(folder: Path) -> dict[str, Agreement]:
    return {"文字": bge_agreement(folder, sample_texts(ROOT))}
