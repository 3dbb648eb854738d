"""The commands of `python -m product_search.manage`, and how their failures are told.

What a command does is imported when it is run: `--help` is not to wait for PyTorch.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from product_search.bootstrap import logs
from product_search.cli import key_commands
from product_search.cli.declaration import command, count, positive
from product_search.context import Principal, Scope, acting_as
from product_search.settings import (
    GENERATION_MODELS,
    GenerationChoice,
    load_log_format,
    load_settings,
)

PROGRAM = "python -m product_search.manage"
EncoderName = Literal["starter", "chinese-clip"]
_GIVE_UP = "权重已不在时：放弃在用的集合，服务启动时新建并重新索引全部商品，此前搜索不可用"
_SIZES = "，".join(f"{name} 约 {one.gigabytes} GB" for name, one in GENERATION_MODELS.items())

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(key_commands.app, name="keys")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 is success, 2 a wrong command line or a failure, as the message explains, 130 an
    interruption; what 1 means is told by the command's `--help`.
    """
    logs.configure("manage", load_log_format())
    words = _with_values(sys.argv[1:] if arguments is None else arguments)
    try:
        with acting_as(_operator()):
            app(words, prog_name=PROGRAM)
    except SystemExit as end:
        return int(end.code or 0)
    raise AssertionError("Typer ends each command with SystemExit")


def _operator() -> Principal:
    """Return the user of this machine who runs the command, as the log of changes names it."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's, with a number alone
        user = str(os.getuid())
    return Principal(f"command:{user}", Scope.admin)


def _with_values(arguments: Sequence[str]) -> list[str]:
    """Give download-models' bare `--generation` an empty value: Typer's options can't lack one."""
    if arguments[:1] != ["download-models"]:
        return list(arguments)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    following = [*arguments[1:end], "-"]
    options = [
        "--generation=" if word == "--generation" and after.startswith("-") else word
        for word, after in zip(arguments[:end], following, strict=True)
    ]
    return [*options, *arguments[end:]]


@command(
    app,
    "import",
    "导入商品文件（CSV、JSONL，或连同图片的 ZIP），按 sku 新增或更新",
    "退出码：0 全部导入（或已取消），1 有坏行（其余已导入），2 未能导入（或取消）",
)
def import_products(
    file: Annotated[
        Path | None, typer.Argument(help="商品文件（.csv、.jsonl，或连同图片的 .zip）")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="image_path 所在的目录（默认：文件所在目录；.zip 不用它）"),
    ] = None,
    cancel: Annotated[
        int | None,
        typer.Option(parser=positive, metavar="ID", help="取消这次导入；已写入的商品保留"),
    ] = None,
) -> int:
    """Import a product file and wait until its products are indexed, or cancel an import."""
    from product_search.cli import import_export

    if file is not None and cancel is None:
        return import_export.import_products(load_settings(), file, images)
    if cancel is not None and file is None and images is None:
        return import_export.cancel_import(load_settings(), cancel)
    raise typer.BadParameter("应给出商品文件，或 --cancel 与导入的编号")


@command(
    app,
    "export",
    "把整个商品目录连同图片导出为 ZIP，可再导入",
    "退出码：0 全部导出，1 有图片已丢失（商品已导出，没有图片），2 未能导出",
)
def export_products(
    file: Annotated[Path, typer.Argument(help="要写出的 .zip 文件；已有的会被替换")],
) -> int:
    """Export the whole catalog as a ZIP that `import` takes."""
    from product_search.cli import import_export

    return import_export.export_products(load_settings(), file)


@command(
    app,
    "doctor",
    "核对数据库、Milvus 与图片文件是否一致，--repair 修复",
    "退出码：0 一致（或不一致的都已排队修复），1 有不一致（或有修复不了的），2 未能核对",
)
def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="经由 outbox 修复，删除多余图片")
    ] = False,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="删除这个没有人使用的集合")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="在标准输出上给出 JSON")] = False,
) -> int:
    """Check whether the stores agree, and repair them where asked to."""
    from product_search.cli.doctor import check_stores

    return check_stores(load_settings(), repair=repair, drop=drop or (), as_json=as_json)


@command(
    app,
    "duplicates",
    "找出重复的商品：图片与标题都相近",
    "退出码：0 没有重复，1 有重复，2 未能查完",
)
def duplicates(
    as_json: Annotated[
        bool, typer.Option("--json", help="在标准输出上给出 JSON，每行一组")
    ] = False,
) -> int:
    """Find the products that are there twice."""
    from product_search.cli import insights

    return insights.find_duplicates(load_settings(), as_json=as_json)


@command(
    app,
    "audit",
    "找出图片与标题不符的商品，最不符的在前",
    "退出码：0 没有图文不符的，1 有，2 未能查完",
)
def audit(
    as_json: Annotated[
        bool, typer.Option("--json", help="在标准输出上给出 JSON，每行一个商品")
    ] = False,
    limit: Annotated[
        int,
        typer.Option(parser=count, metavar="N", help="列出几个（默认 20）", show_default=False),
    ] = 20,
) -> int:
    """List the products whose image and title disagree."""
    from product_search.cli import insights

    return insights.audit_images(load_settings(), limit, as_json=as_json)


@command(
    app,
    "retry",
    "重新为索引失败（failed）的商品建立索引",
    "只重新排队；由运行中的服务或 worker 建立索引，没有则在下次启动时",
)
def retry(
    product: Annotated[
        int | None, typer.Option(metavar="ID", help="只重试这个商品（默认：全部）")
    ] = None,
) -> int:
    """Enqueue again what indexing gave up."""
    from product_search.cli import maintenance

    return maintenance.retry(load_settings(), product)


@command(
    app,
    "reindex",
    "换编码器：在后台写满一个新的向量集合，然后切换",
    "退出码：0 完成，2 做不了（原因会说明）。中断后再运行即接着做",
)
def reindex(
    encoder: Annotated[
        EncoderName | None, typer.Option(help="用这个编码器写满一个新集合，然后切换")
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="有哪些集合，进行到哪里")] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="取消正在进行的，删掉写了一部分的集合")
    ] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="换回上一个集合")] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="删掉上一个集合，此后不能换回")
    ] = False,
    give_up_active: Annotated[bool, typer.Option("--give-up-active", help=_GIVE_UP)] = False,
    rate: Annotated[
        int | None,
        typer.Option(parser=positive, metavar="N", help="每秒最多 N 件商品（默认不限）"),
    ] = None,
) -> int:
    """Switch to another encoder, or back; exactly one option besides `--rate` says what to do."""
    from product_search.cli import reindex as steps
    from product_search.indexing.reindex import ReindexRefused

    chosen = [
        step
        for step, is_chosen in (
            (steps.show_status, status),
            (steps.cancel, cancel),
            (steps.roll_back, rollback),
            (steps.drop_old, drop_old),
            (steps.give_up_active, give_up_active),
        )
        if is_chosen
    ]
    if len(chosen) + (encoder is not None) != 1:
        raise typer.BadParameter("应恰有一个选项说明做什么：--encoder、--status、…（见 --help）")
    if encoder is not None:
        return steps.switch_encoder(load_settings(), encoder, rate)
    if rate is not None:
        raise ReindexRefused("--rate 只与 --encoder 一起用")
    return chosen[0](load_settings())


@command(app, "migrate", "把数据库的表结构升级到本版本所需的")
def migrate() -> int:
    """Bring the relational store's tables to this release's."""
    from product_search.cli import maintenance

    return maintenance.migrate_tables(load_settings())


@command(
    app,
    "check-encoders",
    "核对下载的编码器：CPU 所用的 int8 与 float32 是否一致",
    "不一致的，服务改用 float32。退出码：0 一致，1 不一致",
)
def check_encoders() -> int:
    """Compare the encoders' int8 with float32."""
    from product_search.cli import check_encoders as check

    return check.check_encoders(load_settings())


@command(
    app,
    "download-models",
    "从 ModelScope 下载 Chinese-CLIP 与 BGE，或图片生成模型",
    "编码器下载后会被核对，见 check-encoders。退出码：0 完成，1 已下载，但 int8 与 float32 不一致",
)
def download_models(
    generation: Annotated[
        str | None,
        typer.Option(
            metavar="[" + "|".join(get_args(GenerationChoice)) + "]",
            help=f"改为下载图片生成模型（{_SIZES}）；"
            "不写是哪个时，为 PRODUCT_SEARCH_GENERATION_MODEL 所选的",
        ),
    ] = None,
) -> int:
    """Fetch the encoders' weights, or a text-to-image model's."""
    from product_search.cli import download_models as downloads

    if generation is None:
        return downloads.download_encoders(load_settings())
    choices: tuple[GenerationChoice, ...] = get_args(GenerationChoice)
    for choice in choices:
        if choice == generation:
            return downloads.download_generator(load_settings(), choice)
    if generation:
        raise typer.BadParameter(f"--generation 应为 {'、'.join(choices)} 之一")
    return downloads.download_generator(load_settings(), None)
