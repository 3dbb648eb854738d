"""Encoder pairs loaded from the folders that the settings name."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from nlp_models import EncoderChoice, EncoderPair, open_encoders, resolve_choice
from product_search.encoders.checkpoints import has_weights
from product_search.encoders.precision import PRECISIONS, Precision
from product_search.errors import EncoderError
from product_search.images.decoding import VERSION, VERSIONS
from product_search.settings import Settings

log = logging.getLogger(__name__)

NAMES: tuple[EncoderChoice, ...] = ("starter", "chinese-clip")


@dataclass(frozen=True)
class EncoderLoader:
    """Loader of encoder pairs from the folders that the settings name, and from downloads."""

    settings: Settings

    @property
    def chosen_name(self) -> EncoderChoice:
        """The name of the pair that the settings choose."""
        return resolve_choice(self.settings.encoder, self._clips()[0])

    def load_chosen(self) -> EncoderPair:
        """Load the pair that the settings choose. Raises EncoderError."""
        return self._open(self.settings.encoder, self._clips()[0], self._bges()[0], VERSION)

    def load_named(self, name: str) -> EncoderPair:
        """Load the pair of this name. Raises EncoderError."""
        return self._open(_known(name), self._clips()[0], self._bges()[0], VERSION)

    def load_matching(self, name: str | None, fingerprint: str) -> EncoderPair:
        """Load the pair with this fingerprint; `name` is None where it is not known.

        All folders are tried: a download may have put other weights before the pair's own.

        Raises:
            EncoderError: no folder has the weights.
        """
        for pair in self._all([_known(name)] if name else NAMES):
            if pair.fingerprint == fingerprint:
                return pair
        raise EncoderError(
            f"找不到指纹为 {fingerprint} 的编码器 {name or ''}：权重已更换或已不在"
            "（PRODUCT_SEARCH_CLIP_DIR、PRODUCT_SEARCH_BGE_DIR 须与写入集合时一致）"
        )

    def _all(self, names: Sequence[EncoderChoice]) -> Iterator[EncoderPair]:
        for name in names:
            clips = self._clips() if name == "chinese-clip" else self._clips()[:1]
            ways = product(VERSIONS, PRECISIONS, clips, self._bges())
            for version, precision, clip, bge in ways:
                try:
                    yield self._open(name, clip, bge, version, precision)
                except EncoderError as error:
                    log.debug("%s", error)

    def _clips(self) -> list[Path]:
        settings = self.settings
        return [path for path in (settings.clip_dir, settings.downloaded_clip) if path]

    def _bges(self) -> list[Path]:
        settings = self.settings
        there = [path for path in (settings.downloaded_bge,) if has_weights(path)]
        return [path for path in (settings.bge_dir, *there, settings.shipped_bge) if path]

    def _open(
        self,
        name: EncoderChoice,
        clip: Path,
        bge: Path,
        image_version: int,
        precision: Precision | None = None,
    ) -> EncoderPair:
        pair = open_encoders(
            name,
            clip=clip,
            bge=bge,
            starter=self.settings.shipped_starter,
            device=self.settings.device,
            image_version=image_version,
            precision=precision,
        )
        log.info("encoder %s (fingerprint %s) on %s", pair.name, pair.fingerprint, pair.device)
        return pair


def _known(name: str) -> EncoderChoice:
    for known in NAMES:
        if known == name:
            return known
    raise EncoderError(f"没有编码器 {name!r}：应为 {'、'.join(NAMES)}")
