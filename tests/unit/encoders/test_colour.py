"""Colours read from texts, and from the thing in an image rather than from its ground."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from safetensors.numpy import load_file

from product_search.encoders.colour import COLOURS, Shares, image_colours, lab, text_colours
from product_search.settings import ROOT

SIDE = 56
EVERYWHERE = np.ones((1, 7, 7), np.float32)


@pytest.fixture(scope="module")
def table() -> Shares:
    """The colour table that ships."""
    return load_file(ROOT / "models" / "starter" / "text.safetensors")["colours"]


def named(row: Shares) -> str:
    """The colours that have a tenth or more of a row, strongest first."""
    return "".join(COLOURS[index] for index in np.argsort(-row) if row[index] ** 2 > 0.1)


def disc(colour: str, ground: str) -> Shares:
    picture = Image.new("RGB", (SIDE, SIDE), ground)
    ImageDraw.Draw(picture).ellipse((14, 14, 41, 41), fill=colour)
    return np.asarray(picture, np.float32)[None]


@pytest.mark.parametrize(
    ("text", "colours"),
    [
        ("红色双肩包", "红"),
        ("想要一件白的衬衫", "白"),
        ("黑裤子", "黑"),
        ("天蓝色的连衣裙", "蓝"),
        ("酒红色毛衣", "红"),
        ("藏青西装", "蓝"),
        ("粉红色气球", "粉"),
        ("青苹果", "绿"),
        ("红挎包", "红"),
        ("纯棉白T恤", "白"),
        ("藍色外套", "蓝"),
        ("抹茶色抱枕", ""),
        ("红黑格子衬衫", "红黑"),
        ("黄绿色气球", "黄绿"),
        ("运动鞋 白色", "白"),
    ],
)
def test_a_colour_that_is_asked_for_is_found(text: str, colours: str) -> None:
    assert set(named(text_colours([text])[0])) == set(colours)


@pytest.mark.parametrize(
    "text",
    [
        *["红酒", "白菜", "绿茶", "黄瓜", "蓝牙耳机", "黑胡椒", "紫菜", "青椒", "粉底液", "红包"],
        *[
            "黄包车",
            "双肩包",
            "彩色铅笔",
            "金枪鱼罐头",
            "面粉包邮",
            "脐橙包邮",
            "奶粉包装罐",
            "蟹黄包",
        ],
        *["大红枣", "大红袍茶叶", "中国红茶", "嫩黄瓜", "姜黄粉", "柠檬黄油", "奶白菜", "纯黑咖啡"],
        *[
            "深蓝莓",
            "焦糖色拉",
            "网红的裙子",
            "口红的",
            "美白的面霜",
            "蛋白的",
            "绿色食品",
            "白色家电",
        ],
        *[
            "黑色星期五",
            "红色素",
            "白凉粉",
            "黑长直假发",
            "红袜队",
            "白衣天使",
            "蓝月亮",
            "红牛",
            "特色",
        ],
    ],
)
def test_a_colour_character_inside_another_word_asks_for_none(text: str) -> None:
    assert not text_colours([text]).any()


@pytest.mark.parametrize(
    "text", ["不要红色的包", "不是黑色的鞋", "除了白色都行", "红色除外", "没有红色的", "不喜欢黑色"]
)
def test_a_colour_that_is_ruled_out_is_not_asked_for(text: str) -> None:
    assert not text_colours([text]).any()


def test_two_colours_share_the_text() -> None:
    row = text_colours(["黑白条纹T恤"])[0]
    assert [row[COLOURS.index(colour)] for colour in "黑白"] == pytest.approx([0.5**0.5] * 2)


def test_rows_are_unit_vectors_or_zero_in_the_order_of_the_texts() -> None:
    rows = text_colours(["红色鞋", "鞋", "黄绿色和蓝色的伞"])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 0, 1], atol=1e-6)
    assert text_colours([]).shape == (0, len(COLOURS))


@pytest.mark.parametrize(
    ("colour", "expected"),
    [("#d02020", "红"), ("#f08018", "橙"), ("#f0d820", "黄"), ("#2f8f3f", "绿"), ("#2850be", "蓝"),
     ("#783296", "紫"), ("#f09ab8", "粉"), ("#6e4123", "棕"), ("#101010", "黑"), ("#808080", "灰"),
     ("#30b8c4", "青")],
)  # fmt: skip
def test_the_colour_of_a_thing_is_seen_on_a_white_ground(
    table: Shares, colour: str, expected: str
) -> None:
    assert named(image_colours(disc(colour, "white"), EVERYWHERE, table)[0])[0] == expected


@pytest.mark.parametrize("ground", ["#2850be", "#808080", "#6e4123", "white"])
def test_a_white_thing_is_white(table: Shares, ground: str) -> None:
    seen = image_colours(disc("#fcfcfc", ground), EVERYWHERE, table)[0]
    assert named(seen)[0] == "白"
    assert seen[COLOURS.index("粉")] ** 2 < 0.02


@pytest.mark.parametrize("ground", ["#2850be", "#101010", "#2f8f3f", "#f3e3cc"])
def test_the_ground_does_not_lend_its_colour(table: Shares, ground: str) -> None:
    assert named(image_colours(disc("#d02020", ground), EVERYWHERE, table)[0]) == "红"


def test_an_image_of_one_colour_has_that_colour(table: Shares) -> None:
    filled = disc("#2850be", "#2850be")
    assert named(image_colours(filled, EVERYWHERE, table)[0]) == "蓝"


def test_what_the_network_does_not_see_counts_little(table: Shares) -> None:
    picture = disc("#d02020", "white")
    picture[0, :28, :28] = (40, 80, 190)  # a blue corner
    looking = np.full((1, 7, 7), 1.0, np.float32)
    looking[0, :3, :3] = 0.1
    assert named(image_colours(picture, looking, table)[0])[0] == "红"


def test_a_network_that_sees_nothing_still_gives_a_unit_vector(table: Shares) -> None:
    blind = image_colours(disc("#d02020", "white"), 0 * EVERYWHERE, table)
    np.testing.assert_allclose(np.linalg.norm(blind, axis=1), 1, atol=1e-5)


def test_lab_of_white_black_and_red() -> None:
    seen = lab(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]]))
    expected = np.array([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]])  # CIE 15, D65
    np.testing.assert_allclose(seen, expected, atol=0.05)
