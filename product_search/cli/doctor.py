"""`manage doctor`: whether the relational store, Milvus and the image files agree."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from data_models import DriftKind, DriftRun
from product_search.bootstrap.assemble import open_reconciler
from product_search.bootstrap.stores import open_database
from product_search.cli.follow import run_to_end
from product_search.drift import reports
from product_search.drift.reports import DriftOptions
from product_search.runs.queue import RunKind
from product_search.settings import Settings

log = logging.getLogger(__name__)

MAX_EXAMPLES = 5  # of each kind of drift
NAMES = {
    DriftKind.missing: "缺少向量",
    DriftKind.orphaned: "多余的向量",
    DriftKind.stale_revision: "过时的向量",
    DriftKind.wrong_encoder: "编码器不符",
    DriftKind.unqueued: "未索引且无人排队",
    DriftKind.missing_picture: "缺少图片文件",
    DriftKind.orphaned_picture: "多余的图片文件",
}


def check_stores(settings: Settings, *, repair: bool, drop: Sequence[str], as_json: bool) -> int:
    """Check here, or, where a service holds the Milvus file, have it check and follow it."""
    options = DriftOptions(repair=repair, drop=list(drop)).model_dump()
    run_id = run_to_end(settings, open_reconciler(settings), RunKind.doctor, options)
    if run_id is None:
        return 2
    with open_database(settings) as database:
        found = database.read(reports.fetch_run, run_id)
    if as_json:
        sys.stdout.write(found.model_dump_json(indent=2) + "\n")
    else:
        _report(found)
    return 1 if found.left else 0


def _report(found: DriftRun) -> None:
    log.info(
        "核对了 %d 件商品、%d 个向量实体、%d 个图片文件，用时 %.1f 秒",
        found.products,
        found.entities,
        found.pictures,
        found.seconds,
    )
    if found.failed:
        log.info("另有 %d 件商品已知索引失败（manage retry 重试）", found.failed)
    for kind, count in found.found.items():
        if not count:
            continue
        repaired = f"，已修复或排队 {found.repaired[kind]}" if found.repair else ""
        log.warning("%s（%s）：%d%s", NAMES[kind], kind, count, repaired)
        examples = [one for one in found.examples if one.kind == kind]
        for one in examples[:MAX_EXAMPLES]:
            log.warning("  %s：%s", one.subject, one.reason)
    log.info(_conclusion(found))


def _conclusion(found: DriftRun) -> str:
    if found.left and found.repair:
        return f"{found.left} 处未能修复：见上；索引队列满时，稍后再运行即可继续"
    if found.left:
        return f"共 {found.left} 处不一致；--repair 修复其中能修复的"
    if any(found.found.values()):
        return "全部已修复或排队；排队的由运行中的服务或 worker 完成，没有则在下次启动时"
    return "没有不一致"
