"""The commands of `manage keys`; what they do is imported when they are run."""

from __future__ import annotations

from typing import Annotated

import typer

from product_search.cli.declaration import command, positive
from product_search.context import Scope
from product_search.settings import load_settings

_KEYS = "制作、列出、撤销 API 的密钥"
app = typer.Typer(
    short_help=_KEYS,
    help=f"{_KEYS}（设置 PRODUCT_SEARCH_REQUIRE_KEYS）。",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@command(
    app,
    "create",
    "制作一个密钥：写在标准输出上，只此一次",
    "密钥本身不保存，数据库里只有它的摘要。--origin 使它可以公开：写进网页，只能搜索和查看商品，"
    "且只由这些来源的网页使用",
)
def create_key(
    name: Annotated[str, typer.Argument(help="谁用它：记在改动的日志里")],
    scope: Annotated[Scope, typer.Option(help="权限：后一个包含前一个")] = Scope.read,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="可公开，由这个来源的网页使用；可写多次"),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(parser=positive, metavar="N", help="N 天后失效（默认不失效）"),
    ] = None,
) -> int:
    """Make a key."""
    from product_search.cli import keys as steps

    return steps.create(load_settings(), name, scope, origin or (), days)


@command(app, "list", "列出全部密钥：编号、权限、何时制作、最近使用")
def list_keys(
    as_json: Annotated[
        bool, typer.Option("--json", help="在标准输出上给出 JSON，每行一个")
    ] = False,
) -> int:
    """List all keys."""
    from product_search.cli import keys as steps

    return steps.show(load_settings(), as_json=as_json)


@command(app, "revoke", "撤销一个密钥，几秒内在各处失效，不能恢复")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="密钥的编号：psk_ 之后、下一个 _ 之前的部分")],
) -> int:
    """Revoke a key."""
    from product_search.cli import keys as steps

    return steps.revoke(load_settings(), key_id)


@command(
    app,
    "rotate-signing",
    "更换给图片地址签名的秘密",
    "此前给出的地址在到期（至多 12 小时）之前仍然有效",
)
def rotate_signing(
    at_once: Annotated[
        bool, typer.Option("--at-once", help="此前给出的地址立刻失效：秘密可能已泄露")
    ] = False,
) -> int:
    """Draw a new secret for the addresses of pictures."""
    from product_search.cli import keys as steps

    return steps.rotate_signing(load_settings(), at_once=at_once)
