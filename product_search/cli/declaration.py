"""How commands are declared: their help, the numbers that they take, their exit codes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

import typer

from product_search.errors import AppError, ImportFileError, StartError

log = logging.getLogger(__name__)

Command = Callable[..., int]


def count(given: str | int) -> int:
    """Return the number that plain digits write; Typer passes defaults through here as well."""
    text = str(given)
    if not (text.isascii() and text.isdigit()):
        raise typer.BadParameter("应为 0 或正整数")
    return int(text)


def positive(text: str) -> int:
    """Return the number that plain digits write, from 1 on."""
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text)):
        raise typer.BadParameter("应为正整数")
    return int(text)


def command(
    group: typer.Typer, name: str, purpose: str, more: str = ""
) -> Callable[[Command], Command]:
    """Declare a command: the help of its group lists its purpose, its own tells `more` too."""

    def declare(run: Command) -> Command:
        @wraps(run)
        def run_and_exit(*args: Any, **options: Any) -> NoReturn:
            raise typer.Exit(_exit_code(run, *args, **options))

        group.command(name, short_help=purpose, help=f"{purpose}。\n\n{more}")(run_and_exit)
        return run

    return declare


def _exit_code(run: Command, *args: Any, **options: Any) -> int:
    try:
        return run(*args, **options)
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
