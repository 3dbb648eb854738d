"""`manage download-models`: Chinese-CLIP and BGE, or a text-to-image model, from ModelScope."""

from __future__ import annotations

import argparse
import logging
from typing import get_args

from product_search.encoders.download import download_model
from product_search.generation.diffusers import has_pipeline
from product_search.settings import (
    GENERATION_MODELS,
    PIPELINE_FILES,
    GenerationChoice,
    Settings,
)

log = logging.getLogger(__name__)

NAME = "download-models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    sizes = "，".join(f"{name} 约 {one.gigabytes} GB" for name, one in GENERATION_MODELS.items())
    parser.add_argument(
        "--generation",
        nargs="?",
        choices=get_args(GenerationChoice),
        const=True,
        metavar="|".join(get_args(GenerationChoice)),
        help=f"改为下载图片生成模型（{sizes}）；不写是哪个时，"
        "为 PRODUCT_SEARCH_GENERATION_MODEL 所选的",
    )


def run(settings: Settings, options: argparse.Namespace) -> int:
    """The models; one that is there already in this revision costs only a check."""
    if options.generation is not None:
        named = options.generation is not True
        return _generation(settings, options.generation if named else settings.generation_model)
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


def _generation(settings: Settings, choice: GenerationChoice) -> int:
    published = GENERATION_MODELS[choice]
    target = settings.downloaded_generation(choice)
    log.info("%s，约 %d GB → %s", published.model, published.gigabytes, target)
    download_model(
        published.model,
        settings.generation_revision,
        target,
        files=PIPELINE_FILES,
        is_whole=has_pipeline,
    )
    if choice == settings.generation_model:
        log.info("完成。运行中的服务在下一次生成时就会使用")
    else:
        log.info("完成。要使用它，请设 PRODUCT_SEARCH_GENERATION_MODEL=%s 并重启服务", choice)
    return 0
