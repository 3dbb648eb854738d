"""The commands of `python -m product_search.manage`, and how their failures are told."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from product_search.bootstrap import logs
from product_search.cli import (
    audit,
    doctor,
    download_models,
    duplicates,
    export_products,
    import_products,
    migrate,
    reindex,
    retry,
)
from product_search.errors import AppError, ImportFileError, StartError
from product_search.settings import load_settings

log = logging.getLogger(__name__)

COMMANDS = {
    import_products: "导入商品文件（CSV、JSONL，或连同图片的 ZIP），按 sku 新增或更新",
    export_products: "把整个商品目录连同图片导出为 ZIP，可再导入",
    doctor: "核对数据库、Milvus 与图片文件是否一致，--repair 修复",
    duplicates: "找出重复的商品：图片与标题都相近",
    audit: "找出图片与标题不符的商品，最不符的在前",
    retry: "重新为索引失败（failed）的商品建立索引",
    reindex: "换编码器：在后台写满一个新的向量集合，然后切换",
    migrate: "把数据库的表结构升级到本版本所需的",
    download_models: "从 ModelScope 下载 Chinese-CLIP 与 BGE，或图片生成模型",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 is success, 2 a failure that the message explains, 1 the command's own."""
    logs.configure("manage")
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(load_settings(), options)
    except (ImportFileError, StartError) as error:
        log.error("%s", error)
        return 2
    except AppError as error:  # a store is down: its own words say which and why
        cause = str(error.__cause__ or "").partition("\n")[0]
        log.error("%s", f"{error}（{cause}）" if cause else error)
        return 2
    except KeyboardInterrupt:
        log.error("已中断：已写入的批次不会丢失，再次运行即可继续")
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m product_search.manage")
    commands = parser.add_subparsers(required=True)
    for command, purpose in COMMANDS.items():
        subparser = commands.add_parser(command.NAME, help=purpose)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser
