"""Colours: the shares that a text names, and those that the thing in an image shows.

Both sides are unit vectors over `COLOURS` (square roots of shares), so that their dot product is
the Bhattacharyya coefficient of the two distributions: 1 where they agree, 0 where none is common.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.float32]

COLOURS = ("红", "橙", "黄", "绿", "青", "蓝", "紫", "粉", "棕", "黑", "白", "灰")
TABLE_BITS = 5  # of each channel that the colour table tells apart
GROUND_DISTANCE = 14.0  # in CIELAB, at which a pixel begins to differ from the image's border
GROUND_SHARE = 0.02  # weight that a pixel like the border keeps: a thing may fill the image

# What people write -> the basic colours that it is a mixture of. Each stands alone or with 色.
_TERMS = {
    "红": "大红 正红 朱红 酒红 枣红 砖红 暗红 深红 鲜红 火红 绯红 猩红 浅红 樱桃红 中国红",
    "橙": "橘色 橘红 桔色 亮橙 荧光橙 橘黄",
    "黄": "鹅黄 姜黄 明黄 柠檬黄 淡黄 浅黄 嫩黄 土黄 杏黄 金黄 金色 芥末黄",
    "绿": "墨绿 军绿 草绿 薄荷绿 嫩绿 浅绿 深绿 淡绿 果绿 橄榄绿 翠绿 豆绿 荧光绿 青苹果 青甜椒",
    "青": "淡青 天青 靛青 青绿 蓝绿 湖绿 孔雀绿",
    "蓝": "天蓝 湖蓝 宝蓝 深蓝 浅蓝 淡蓝 湛蓝 海军蓝 藏青 藏蓝 牛仔蓝 雾霾蓝 克莱因蓝 孔雀蓝 靛蓝",
    "紫": "薰衣草紫 香芋紫 浅紫 深紫 淡紫 葡萄紫 紫罗兰色",
    "粉": "粉红 浅粉 淡粉 藕粉色 樱花粉 玫红 桃红 桃粉 玫瑰粉 西瓜红",
    "棕": "咖啡色 咖色 褐色 驼色 巧克力色 深棕 浅棕 焦糖色 卡其 棕褐 栗色",
    "黑": "纯黑 曜石黑 乌黑 亮黑 哑光黑",
    "白": "米白 纯白 象牙白 乳白 奶白 雪白 本白 珍珠白",
    "灰": "浅灰 深灰 烟灰 银灰 炭灰 银色 太空灰 麻灰",
    "白棕": "米色 杏色 裸色 奶茶色 燕麦色",
    "粉黄": "玫瑰金",
}
# A bare 红 or 白 is a colour before 的, before a pattern, and before what is worn, carried or
# furnished with; in 红酒, 白菜 and 蓝牙 it is part of another word.
_THINGS = (
    "(?<!红)包(?=$|[ ，,])|双肩包|挎包|书包|背包|手提包|鞋|裙|裤|衣(?!天使)|内衣|背心|帽|袜(?!队)|"
    "[Tt]?恤|衬|外套|卫衣|夹克|大衣|西装|领带|围巾|手套|皮(?:鞋|包|带|衣|箱)|行李箱|拉杆箱|沙发|椅|桌|床(?!头)|水?杯|"
    "碗|盘|汽车|轿车|雨?伞|台灯|手机|耳机|冰箱|壳|花瓶|地毯|窗帘|毛巾|枕|被子|气球|玫瑰|苹果|连衣|半身|"
    "[长短](?:裙|裤|袖|靴|袜|衫|款|外套|大衣)|凉(?:鞋|拖)|靴|运动(?:鞋|裤|服|衣)|吊带|毛(?:线|衣)|甜椒|"
    "格|条纹|相间|拼色|撞色"
)
_BASIC = "".join(COLOURS)
# 网红的, 口红的, 蛋白的: the character belongs to the word before it.
_WORD_BEFORE = "(?<![网口美蛋明奶米面豆腮蟹])"
_NEGATIONS = "不要 别要 不想要 不喜欢 不是 不带 没有 排除 除了 除 无 非 不"
_NOT_WANTED = "".join(f"(?<!{word})" for word in _NEGATIONS.split())
_NOT_WANTED += "(?!.{0,4}色?的?(?:除外|以外|之外))"
_NO_FOOD = "(?![枣袍茶菜瓜酒油醋豆糖莓葡薯咖芝饮糕拉]|粉(?!色)|十字)"  # 大红袍, 姜黄粉, 纯黑咖啡
_NO_PHRASE = "(?!食品|有机|农业|家电|星期|情人|幽默|素|拉)"  # 绿色食品, 红色素
_MODIFIED = "|".join(sorted((w for terms in _TERMS.values() for w in terms.split()), key=len)[::-1])
_NAMED = re.compile(
    f"{_NOT_WANTED}(?P<term>{_MODIFIED}){_NO_FOOD}|"
    f"{_NOT_WANTED}{_WORD_BEFORE}(?P<basic>[{_BASIC}])"
    f"(?=[{_BASIC}]{{0,2}}(?:色{_NO_PHRASE}|的|(?:{_THINGS})))"
)
_MIXTURES = {word: mixture for mixture, terms in _TERMS.items() for word in terms.split()}
_SIMPLIFIED = str.maketrans("紅橙黃綠藍", "红橙黄绿蓝")
# All that decides what texts and images are said to be, for fingerprints of encoders; the number
# stands for the code below, and is raised when it changes.
RECIPE = f"1:{_NAMED.pattern}:{_MIXTURES}:{TABLE_BITS}:{GROUND_DISTANCE}:{GROUND_SHARE}"


def text_colours(texts: Sequence[str]) -> Shares:
    """Return float32 (n, 12): a unit vector of the colours that each text names; zeros if none."""
    rows = np.zeros((len(texts), len(COLOURS)), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for match in _NAMED.finditer(text.translate(_SIMPLIFIED)):
            named = _MIXTURES[match["term"]] if match["term"] else match["basic"]
            for colour in named:
                row[COLOURS.index(colour)] += 1 / len(named)
    totals = rows.sum(axis=1, keepdims=True)
    return np.asarray(np.sqrt(rows / np.maximum(totals, 1)), np.float32)


def image_colours(pixels: Shares, attention: Shares, table: Shares) -> Shares:
    """Return the colours of the thing that each image shows, its ground mostly left out.

    Args:
        pixels: float32 (n, side, side, 3), RGB in 0 to 255.
        attention: float32 (n, cells, cells), not negative: how much a network sees where; side is
            a multiple of cells.
        table: float32 (2 ** (3 * TABLE_BITS), 12): shares of each colour for each RGB cell.

    Returns:
        Float32 (n, 12), unit vectors.
    """
    scale = pixels.shape[1] // attention.shape[1]
    seen = attention.repeat(scale, axis=1).repeat(scale, axis=2) ** 2
    weights = seen * (_unlike_border(pixels) + GROUND_SHARE) + np.finfo(np.float32).tiny
    cells = np.clip(pixels, 0, 255).astype(np.int64) >> (8 - TABLE_BITS)
    red, green, blue = cells[..., 0], cells[..., 1], cells[..., 2]
    shares = table[(((red << TABLE_BITS) + green) << TABLE_BITS) + blue]
    totals = np.einsum("nhw,nhwc->nc", weights, shares)
    return np.asarray(np.sqrt(totals / totals.sum(axis=1, keepdims=True)), np.float32)


def lab(rgb: NDArray[np.generic]) -> Shares:
    """Convert sRGB (..., 3) in 0 to 255 into CIELAB under D65 (IEC 61966-2-1, CIE 15)."""
    encoded = np.asarray(rgb, np.float32) / np.float32(255)
    linear = np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
         [0.0193339, 0.1191920, 0.9503041]]
    )  # fmt: skip
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.asarray(np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1), np.float32)


def _unlike_border(pixels: Shares) -> Shares:
    """Return (n, side, side): 0 where a pixel has the colour of an edge of the image, up to 1."""
    seen = lab(pixels)
    edges = (seen[:, :2], seen[:, -2:], seen[:, :, :2], seen[:, :, -2:])
    medians = np.median([edge.reshape(len(seen), -1, 3) for edge in edges], axis=2)
    planes = np.ascontiguousarray(np.moveaxis(seen, -1, 0))  # sums over three are slow in place
    nearest = np.minimum.reduce([_squared_distance(planes, median.T) for median in medians])
    return np.asarray(1 - np.exp(-nearest / GROUND_DISTANCE**2), np.float32)


def _squared_distance(planes: Shares, points: Shares) -> Shares:
    """Return (n, side, side) of planes (3, n, side, side) and a point (3, n) of each image."""
    first, second, third = (planes - points[:, :, None, None]) ** 2
    return np.asarray(first + second + third)
