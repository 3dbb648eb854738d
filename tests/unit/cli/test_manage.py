"""The command line of `manage`: its help, its exit codes, and what it loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from product_search.bootstrap.encoders import NAMES
from product_search.cli import doctor, import_export, insights, manage, reindex
from product_search.errors import DatabaseUnavailable, StartError
from product_search.settings import ROOT, Settings

PURPOSES = {
    "import": "导入商品文件",
    "export": "把整个商品目录连同图片导出为 ZIP",
    "doctor": "核对数据库、Milvus 与图片文件是否一致",
    "duplicates": "找出重复的商品",
    "audit": "找出图片与标题不符的商品",
    "retry": "重新为索引失败",
    "reindex": "换编码器",
    "migrate": "把数据库的表结构升级到本版本所需的",
    "check-encoders": "核对下载的编码器",
    "download-models": "从 ModelScope 下载",
    "keys": "制作、列出、撤销 API 的密钥",
}


@pytest.fixture(autouse=True)
def _no_settings_of_a_developer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_help_lists_the_commands_and_their_purposes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert manage.main(["--help"]) == 0
    commands = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()
    listed = dict(line.split(maxsplit=1) for line in commands)
    assert list(listed) == list(PURPOSES)
    for name, purpose in PURPOSES.items():
        assert listed[name].startswith(purpose)


def test_the_help_waits_for_no_heavy_library() -> None:
    code = """
import sys
from product_search.cli import manage
manage.main(["--help"])
print(sorted({"torch", "transformers", "pymilvus", "sqlalchemy", "numpy"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", PURPOSES)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_each_command_explains_itself(
    name: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert manage.main([name, option]) == 0
    assert PURPOSES[name] in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["reindex"],
        ["reindex", "--status", "--rollback"],
        ["reindex", "--encoder", "starter", "--cancel"],
        ["reindex", "--encoder", "auto"],
        ["reindex", "--encoder", "starter", "--rate", "0"],
        ["audit", "--limit", "-1"],
        ["audit", "--limit", "few"],
        ["audit", "--limit", "1_0"],
        ["audit", "--generation"],
        ["retry", "--product", "A"],
        ["doctor", "--fix"],
        ["download-models", "starter"],
        ["keys", "nothing"],
        ["keys", "create"],
        ["keys", "create", "店铺", "--scope", "root"],
        ["keys", "create", "店铺", "--days", "0"],
        ["keys", "revoke"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert manage.main(arguments) == 2
    assert "Error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["audit", "--limit", "-1"], "应为 0 或正整数"),
        (["audit", "--limit", "+5"], "应为 0 或正整数"),
        (["audit", "--limit", " 5"], "应为 0 或正整数"),
        (["reindex", "--encoder", "starter", "--rate", "0"], "应为正整数"),
    ],
)
def test_a_number_that_will_not_do_is_explained_in_chinese(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert manage.main(arguments) == 2
    assert reason in capsys.readouterr().err


def test_numbers_reach_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[object] = []

    def audit_images(_settings: Settings, limit: int, **_options: object) -> int:
        taken.append(limit)
        return 0

    def switch_encoder(_settings: Settings, _encoder: str, rate: int | None) -> int:
        taken.append(rate)
        return 0

    monkeypatch.setattr(insights, "audit_images", audit_images)
    monkeypatch.setattr(reindex, "switch_encoder", switch_encoder)
    assert manage.main(["audit"]) == 0
    assert manage.main(["audit", "--limit", "0"]) == 0
    assert manage.main(["reindex", "--encoder", "starter", "--rate=7"]) == 0
    assert manage.main(["reindex", "--encoder", "starter"]) == 0
    assert taken == [20, 0, 7, None]


def test_a_rate_without_an_encoder_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    assert manage.main(["reindex", "--status", "--rate", "5"]) == 2
    assert [record.message for record in caplog.records] == ["--rate 只与 --encoder 一起用"]


def test_a_file_may_be_named_as_an_option_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken: list[Path] = []

    def export_products(_settings: Settings, file: Path) -> int:
        taken.append(file)
        return 0

    monkeypatch.setattr(import_export, "export_products", export_products)
    assert manage.main(["export", "--", "--generation"]) == 0
    assert taken == [Path("--generation")]
    assert manage.main(["download-models", "--", "--generation"]) == 2
    assert "--generation=" not in capsys.readouterr().err


def test_any_encoder_may_be_switched_to() -> None:
    assert get_args(manage.EncoderName) == NAMES


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (StartError("不能启动"), 2, "不能启动"),
        (DatabaseUnavailable("数据库不可用"), 2, "数据库不可用"),
        (KeyboardInterrupt(), 130, "再次运行即可继续"),
    ],
)
def test_a_failure_is_told_and_is_an_exit_code(
    error: BaseException,
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_settings: Settings) -> int:
        raise error

    monkeypatch.setattr(reindex, "show_status", fail)
    assert manage.main(["reindex", "--status"]) == status
    assert message in caplog.text


def test_the_options_reach_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, object] = {}

    def check_stores(_settings: Settings, **options: object) -> int:
        taken.update(options)
        return 1

    monkeypatch.setattr(doctor, "check_stores", check_stores)
    assert manage.main(["doctor", "--repair", "--drop", "a", "--drop=b"]) == 1
    assert taken == {"repair": True, "drop": ["a", "b"], "as_json": False}
