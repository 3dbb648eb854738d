"""`manage download-models`: Chinese-CLIP and BGE from ModelScope."""

from __future__ import annotations

import argparse
import logging

from nlp_models import download_model
from product_search.settings import Settings

log = logging.getLogger(__name__)

NAME = "download-models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes: nothing."""


def run(settings: Settings, _options: argparse.Namespace) -> int:
    """Both models; one that is there already in this revision costs only a check."""
    for model, revision, target in (
        (settings.clip_model, settings.clip_revision, settings.downloaded_clip),
        (settings.bge_model, settings.bge_revision, settings.downloaded_bge),
    ):
        log.info("%s（%s）→ %s", model, revision, target)
        download_model(model, revision, target)
    log.info(
        "完成。首次启动的服务会直接使用；已有商品的，请运行 "
        "python -m product_search.manage reindex --encoder chinese-clip"
    )
    return 0
