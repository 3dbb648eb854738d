"""`manage download-models`: Chinese-CLIP and BGE, or a text-to-image model, from ModelScope."""

from __future__ import annotations

import logging

from product_search.cli.check_encoders import check_encoders
from product_search.encoders.download import download_model
from product_search.generation.diffusers import has_pipeline
from product_search.settings import (
    GENERATION_MODELS,
    PIPELINE_FILES,
    GenerationChoice,
    Settings,
)

log = logging.getLogger(__name__)


def download_encoders(settings: Settings) -> int:
    """Fetch Chinese-CLIP and BGE; what is there already in its revision costs only a check."""
    for model, revision, target in (
        (settings.clip_model, settings.clip_revision, settings.downloaded_clip),
        (settings.bge_model, settings.bge_revision, settings.downloaded_bge),
    ):
        log.info("%s（%s）→ %s", model, revision, target)
        download_model(model, revision, target)
    code = check_encoders(settings)
    log.info(
        "完成。首次启动的服务会直接使用；已有商品的，请运行 "
        "python -m product_search.manage reindex --encoder chinese-clip"
    )
    return code


def download_generator(settings: Settings, choice: GenerationChoice | None) -> int:
    """Fetch a text-to-image model: the settings' where none is chosen."""
    choice = choice or settings.generation_model
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
