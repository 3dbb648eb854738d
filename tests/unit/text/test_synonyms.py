"""The synonyms file: what is read from it, what a query becomes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from product_search.errors import StartError
from product_search.settings import Settings
from product_search.text.analysis import fold
from product_search.text.synonyms import Synonyms


def synonyms(folder: Path, text: str) -> Synonyms:
    path = folder / "synonyms.txt"
    path.write_text(text, "utf-8")
    return Synonyms(path)


def expanded(made: Synonyms, query: str) -> list[str]:
    return [other for word in made.find(fold(query)) for other in word.synonyms]


def refused(folder: Path, content: bytes) -> str:
    path = folder / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(StartError) as caught:
        Synonyms(path)
    assert str(path) in str(caught.value)
    return str(caught.value).removeprefix(f"同义词文件 {path} ")


def test_a_word_gives_the_others_of_its_group(tmp_path: Path) -> None:
    made = synonyms(tmp_path, "# 蔬菜\n西红柿, 番茄，tomato\n\n土豆,马铃薯  # 洋芋\n")
    assert expanded(made, "番茄炒蛋") == ["西红柿", "tomato"]
    assert expanded(made, "洋芋") == []


def test_the_words_come_in_the_order_of_the_query(tmp_path: Path) -> None:
    made = synonyms(tmp_path, "红色, red\n鞋子, shoes\n")
    assert expanded(made, "鞋子 红色") == ["shoes", "red"]


def test_both_sides_are_folded_alike(tmp_path: Path) -> None:
    made = synonyms(tmp_path, "優格, 酸奶\nU盘, 闪存盘\n")
    assert expanded(made, "优格") == ["酸奶"]
    assert expanded(made, "Ｕ盤 64G") == ["闪存盘"]


def test_a_latin_word_is_found_only_whole(tmp_path: Path) -> None:
    made = synonyms(tmp_path, "cap, 帽子\nU盘, 闪存盘\nrice cooker, 电饭煲\n")
    assert expanded(made, "landscape cap2 caps") == []
    assert expanded(made, "红色cap") == ["帽子"]
    assert expanded(made, "64GU盘") == []
    assert expanded(made, "a Rice  Cooker") == ["电饭煲"]


def test_of_words_that_overlap_the_longest_counts(tmp_path: Path) -> None:
    made = synonyms(tmp_path, "番茄酱, ketchup\n番茄, 西红柿\n手机, phone\n机器人, robot\n")
    assert expanded(made, "番茄酱") == ["ketchup"]
    assert expanded(made, "番茄酱和番茄") == ["ketchup", "西红柿"]
    assert expanded(made, "手机器人") == ["robot"]


def test_a_word_alone_on_its_line_only_protects_itself(tmp_path: Path) -> None:
    made = synonyms(tmp_path, "番茄酱\n番茄, 西红柿\n")
    assert expanded(made, "番茄酱") == []


def test_a_word_of_two_groups_is_refused_with_both_lines(tmp_path: Path) -> None:
    reason = refused(tmp_path, "單車, 自行车\n\n单车, 共享单车\n".encode())
    assert "“单车”" in reason
    assert "第 1 行和第 3 行" in reason


def test_a_comma_without_a_word_beside_it_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "红色, red\n鞋子,, shoes\n".encode()).startswith("第 2 行")


def test_bytes_that_are_no_utf_8_are_refused_with_their_line(tmp_path: Path) -> None:
    reason = refused(tmp_path, b"red, rot\n" + "红色".encode("gb18030"))
    assert reason == "第 2 行不是 UTF-8"


def test_a_file_from_excel_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    made = synonyms(tmp_path, "\ufeff红色, red\r\n")
    assert expanded(made, "红色") == ["red"]


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="无法读取"):
        Synonyms(tmp_path / "none.txt")


def test_the_shipped_file_is_sound() -> None:
    shipped = Synonyms(Settings(_env_file=None).synonyms_path)
    assert "自行车" in expanded(shipped, "二手单车")
    assert "酸奶" in expanded(shipped, "原味優格")
    assert "耳机" in expanded(shipped, "wireless Earphones")
    assert "西红柿" not in expanded(shipped, "番茄酱")
