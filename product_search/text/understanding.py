"""Price words of a query: which they are, what they mean, and what is left to search for.

A number is a price where a currency or a word for prices says so; else only where it is compared
(300以内, 低于 300) and nothing around it makes it a size, an age, a model or a sum.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

from product_search.text.amounts import AMOUNT, NUMERALS, Amount, read_amount, scale_of


class PriceWords(NamedTuple):
    """The words of a query that say a price, and the prices that they mean, ends included."""

    start: int  # in the query as it was typed
    end: int
    gte: Decimal | None
    lte: Decimal | None


_LEAST_BARE = 10  # of a number without a currency
_LEAST_HIGH = 100  # of one that prices are to be above, or that is itself not exact
_LEAST_DASHED = 1000  # 100-200 may be anything
_MOST = Decimal("9999999999.99")
_FIRST_YEAR, _LAST_YEAR = 1980, 2039
_CHILD_AGE, _LEAST_HEIGHT, _MOST_HEIGHT = 18, 50, 190  # years, centimetres
_LARGEST_SHOE = 50
_TRADITIONAL = str.maketrans(
    "萬塊內過於預幾兩億價圓錢間從別貴約來餘鈔", "万块内过于预几两亿价圆钱间从别贵约来余钞"
)
_FULL_COMMA = "，"  # parts words; the other one may part thousands
_MAYBE = re.compile(rf"[0-9０-９{NUMERALS}萬幾兩]")

_CURRENCY = (
    r"(?:块钱|元钱|块(?![装状头茎])|元(?![素宝旦气件])|圆(?![形领头桌角规珠])|人民币|rmb|cny|yuan)"
    r"(?:人民币)?"
)
_PRICE_WORD = r"价格|价位|价钱|售价|单价|均价|总价|预算|花费"
_ROUGHLY = r"大概|大约|差不多|约"
_LEAD = (
    rf"(?:(?P<word>{_PRICE_WORD})(?:\s?(?:控制在|在|是|为|:))?\s?)?"
    rf"(?:(?P<roughly>{_ROUGHLY})(?:在)?\s?)?"
)
_NOT_WANTED = r"(?P<denied>(?:不要|不想要|别买|别要|不买|不考虑)\s?)?"
_UP_TO = (
    r"不要超过|不能超过|别超过|不超过|不超|不高于|不多于|不大于|(?<!不)低于|(?<!不)少于|(?<!不)小于"
    r"|不到|至多|最多|最高|顶多|(?<![a-z])(?:under|below|less than|up to)|<=?|≤"
)
_FROM = (
    r"不低于|不少于|不小于|(?<!不)高于|(?<!不)大于|(?<!不)多于|(?<![不要能别])超过"
    r"|至少|最少|最低|起码|(?<![a-z])(?:over|above|more than|at least)|>=?|≥"
)
# Words of comparison that numbers of anything stand with: a currency must say that it is a price.
_OF_ANYTHING = re.compile(
    r"不?[大小]于|不多于|多于|至[多少]|最[多少高低]|顶多|起码|[a-z ]+|[<>≤≥]=?"
)
_WITHIN = r"(?:及|或)?(?:以内|之内|以下|以里)|封顶|内(?=[的\s]|$)|不到(?=[的\s]|$)"
_UPWARDS = r"(?:及|或)?(?:以上|之上)|往上"
_AROUND = r"左右|上下"
_TO = r"[-–—~〜]{1,2}|到|至"


def _money(name: str, before: str = "") -> str:
    """Return the pattern of an amount, with or without a currency, in groups of this name."""
    return (
        rf"(?:(?P<{name}_sign>¥|rmb|cny)\s?|{before})"
        rf"(?P<{name}>{AMOUNT})(?:\s?(?P<{name}_unit>{_CURRENCY}))?"
        rf"(?:(?<=[块元])(?P<{name}_dime>[1-9一二三四五六七八九])(?![0-9{NUMERALS}.]))?"
    )


_A, _B = _money("a", rf"(?<![0-9{NUMERALS}.*×/+#_$€£-])"), _money("b")
_TAIL = r"(?:\s?的?(?:价位|价格|价钱|预算|样子))?"
_RANGE = re.compile(
    rf"{_LEAD}(?:从\s?)?{_A}\s?(?P<to>{_TO})\s?{_B}(?:\s?(?P<between>之间|左右|以内|以下)|{_TAIL})"
)
_BETWEEN = re.compile(rf"(?<![a-z])(?P<between>between) {_A} (?P<to>and) {_B}")
_NOT_ABOVE = re.compile(
    rf"{_NOT_WANTED}{_LEAD}(?P<compared>{_UP_TO})\s?{_A}(?:\s?(?:{_WITHIN}))?{_TAIL}"
)
_BELOW = re.compile(rf"{_NOT_WANTED}{_LEAD}{_A}\s?(?P<after>{_WITHIN}){_TAIL}")
_NOT_BELOW = re.compile(
    rf"{_NOT_WANTED}{_LEAD}(?P<compared>{_FROM})\s?{_A}(?:\s?(?:{_UPWARDS}))?{_TAIL}"
)
_ABOVE = re.compile(rf"{_NOT_WANTED}{_LEAD}{_A}\s?(?:{_UPWARDS}){_TAIL}")
_NEAR = re.compile(rf"{_LEAD}{_A}\s?(?P<after>{_AROUND}|的?价位|(?<=元)档位?){_TAIL}")
_BUDGET = re.compile(rf"预算(?:\s?(?:只有|在|是|为|就|:))?\s?(?:{_ROUGHLY})?\s?{_A}")
_OF_BUDGET = re.compile(rf"{_A}\s?的?预算")
_ROUGH = re.compile(rf"{_LEAD}{_A}")

# What a number before or after such words is, is no price.
_NO_PRICE_BEFORE = re.compile(
    r"(?:[第前满减每]|分之|\bno\.?|型号|货号|编号|排名|版本|系统|安卓|鸿蒙|尺码|码数|尺寸|规格|身高|身长|体重"
    r"|年龄|电压|功率|频率|色温|转速|容量|长度|宽度|高度|厚度|深度|直径|口径|内径|外径|周长|胸围|腰围|臀围|像素|续航|流量"
    r"|温度|湿度|重量|承重|载重|距离|分辨率|刷新率|纯度|含量|浓度|密度|度数|目数|支数|页数|字数|人数|数量|层数|片数|焦距"
    r"|亮度|音量|噪音|速度|马力|排量|里程|热量|时间|时长|寿命"
    rf"|(?:^|[\s0-9])[长宽高厚重深]|[0-9{NUMERALS}][米尺点比])"
    r"(?:\s?(?:在|为|是|约|大概|:))?$"
)
_NO_PRICE_AFTER = re.compile(
    r"\s?(?:个|的)?\s?(?:万?像素|流明|毫安|毫升|毫米|厘米|公分|千克|公斤|公里|英寸|平米|平方|小时|分钟|大卡|千卡"
    r"|片装|支装|只装|(?<=\s)[寸米克斤升码岁度片张个件](?=[的\s]|$)|(?:ml|mm|cm|km|kg|mg|gb|tb|mb|hz|mah|dpi|db|lm)(?![a-z]))"
)
_NO_PRICE_ANYWHERE = re.compile(r"[加减乘除]法|加减|乘除|口算|算术|算数|数学|计算|运算|质数")
_TWO_SIDES = re.compile(r"上下|左右(?:[手耳脚侧两]|对称|声道)")
_CHILD = re.compile(r"童|婴|宝宝|孩|校服|岁|学生|年级")
_SHOE = re.compile(r"[鞋靴]")
_PIECES = re.compile(r"拼图|积木|地砖|瓷砖|地垫")
_FOREIGN = re.compile(
    r"\s?(?:美元|美金|欧元|日元|日币|港币|港元|英镑|韩元|韩币|台币|卢布|usd|eur|jpy|hkd)"
    r"|[欧刀](?=[的\s]|$)"
)
_SUM_BEFORE = re.compile(r"(?:[满减返第]|第.件|[0-9]:)\s?$")
_LATIN_WORD = re.compile(r"[a-z][a-z0-9]*\s?$")
_END = re.compile(r"的|[^\w°%‰′″'\"*×/+-]|$")  # of what a number may count: 100℃ is no price
_MAY_BE_UNIT = re.compile(
    r"[片张个件只支包盒瓶袋本页枚颗粒根条卷套双对台人位名岁月天日年周克斤升寸英米厘毫分秒度码号级层格孔针织转目瓦伏安倍"
    r"档段期次步里平方吨公字款型代像流摄勒千百万a-z0-9°%‰′″'\"*×/+-]|小时"
)
_EMPTY_BRACKETS = re.compile(r"[(（\[【]\s*[)）\]】]")
# Nothing in two ways, such as a space also as a sign: what follows n of them is tried 2^n times.
_FILLING = re.compile(
    r"(?:[的吗呢吧啊呀要买找求有个些我想送用给来]|东西|商品|产品|物品|好物|宝贝|一个|一些|什么|推荐|有没有|能买|可以|价格|价位"
    r"|预算|请问|大概|大约|最好|每件|就[行好]|即可|[^\w])*"
)

Ends = tuple[Decimal | None, Decimal | None]


class _Phrase:
    """What one of the patterns found, and what is around it."""

    def __init__(self, match: re.Match[str]) -> None:
        self._groups = match.groupdict()
        self.whole = match.string
        self.before = match.string[: match.start()]
        self.after = match.string[match.end() :]

    def group(self, name: str) -> str:
        """Return the words of a group; empty where there are none."""
        return self._groups.get(name) or ""

    def amount(self, name: str) -> Amount | None:
        """Return an amount; None where it is no number, or none of money."""
        amount = read_amount(self.group(name))
        if amount is None:
            return None
        if self.group(name) == "几" and not self.group(f"{name}_unit").endswith("钱"):
            return None  # a few pieces
        dime = self.group(f"{name}_dime")
        part = (read_amount(dime) or amount).low / 10 if dime else 0
        return Amount(amount.low + part, amount.high + part)

    @property
    def is_money(self) -> bool:
        """Whether a currency says that these are amounts of money."""
        names = ("a_sign", "a_unit", "b_sign", "b_unit")
        return any(self.group(name) for name in names)

    @property
    def is_no_price(self) -> bool:
        """Whether what is around says that it is a sum or a number of pieces, or other money."""
        in_pieces = "块" in (self.group("a_unit"), self.group("b_unit"))
        return bool(
            _SUM_BEFORE.search(self.before)
            or _FOREIGN.match(self.after)
            or (in_pieces and _PIECES.search(self.whole))
        )

    @property
    def is_size(self) -> bool:
        """Whether what is around makes a number without a currency something else than a price."""
        return bool(
            _NO_PRICE_BEFORE.search(self.before)
            or _NO_PRICE_AFTER.match(self.after)
            or _NO_PRICE_ANYWHERE.search(self.whole)
            or self.group("a")[:1] in "百千万"
            or any("." in name and name[-1].isdigit() for name in map(self.group, "ab"))
        )

    def is_wearer(self, low: Decimal, high: Decimal) -> bool:
        """Whether these may be an age or a height of a child, or a size of shoes."""
        if _CHILD.search(self.whole) and high <= _CHILD_AGE:
            return True
        if self.group("after") in ("以内", "之内"):
            return False
        is_height = low >= _LEAST_HEIGHT and high <= _MOST_HEIGHT and (low != high or low % 50 != 0)
        is_shoe = high <= _LARGEST_SHOE and (low != high or low % 10 != 0)
        return bool(
            (is_height and _CHILD.search(self.whole)) or (is_shoe and _SHOE.search(self.whole))
        )


def _read_range(phrase: _Phrase) -> Ends | None:
    low, high = phrase.amount("a"), phrase.amount("b")
    if low is None or high is None or phrase.is_no_price:
        return None
    scale = scale_of(phrase.group("b"))
    if low.low < 10 and scale > 1 and not phrase.group("a_unit"):
        low = Amount(low.low * scale, low.high * scale)  # 3到5百
    first, last = low.low, high.high
    if not phrase.is_money and not phrase.group("word") and not _is_bare_range(phrase, first, last):
        return None
    return (first, last) if first < last else (last, first)


def _is_bare_range(phrase: _Phrase, low: Decimal, high: Decimal) -> bool:
    between, to = phrase.group("between"), phrase.group("to")
    is_round = low >= _LEAST_DASHED and low % 100 == high % 100 == 0
    if not (between or to in ("~", "〜", "到", "至") or is_round):
        return False
    may_be_unit = bool(_MAY_BE_UNIT.match(phrase.after)) or low < _LEAST_HIGH
    if may_be_unit and not between and not _END.match(phrase.after):
        return False
    if phrase.is_size or phrase.is_wearer(low, high) or _LATIN_WORD.search(phrase.before):
        return False
    is_year = low >= _FIRST_YEAR and high <= _LAST_YEAR
    return _LEAST_BARE <= low < high and not is_year


def _read_below(phrase: _Phrase) -> Ends | None:
    amount = phrase.amount("a")
    if amount is None or not _is_compared_price(phrase, amount, _LEAST_BARE):
        return None
    return (amount.low, None) if phrase.group("denied") else (None, amount.high)


def _read_above(phrase: _Phrase) -> Ends | None:
    amount = phrase.amount("a")
    if amount is None or not _is_compared_price(phrase, amount, _LEAST_HIGH):
        return None
    if not phrase.is_money and not phrase.group("word"):
        is_round = amount.low % 50 == 0 or amount.low % 100 == 99  # 144以上 are hertz
        is_year = _FIRST_YEAR <= amount.low <= _LAST_YEAR and amount.low % 100 != 0
        if not is_round or is_year or _LATIN_WORD.search(phrase.before) or "k" in phrase.group("a"):
            return None
    return (None, amount.high) if phrase.group("denied") else (amount.low, None)


def _is_compared_price(phrase: _Phrase, amount: Amount, least: int) -> bool:
    """Return whether the number is a price, by its currency or by all that is around it."""
    if phrase.is_no_price:
        return False
    if phrase.is_money or phrase.group("word"):
        return True
    compared = phrase.group("compared")
    if compared and (_OF_ANYTHING.fullmatch(compared) or not _END.match(phrase.after)):
        return False
    if amount.low < least or phrase.is_size or phrase.is_wearer(amount.low, amount.high):
        return False
    return not _LATIN_WORD.search(phrase.before) or _is_no_model(phrase, amount.low)


def _is_no_model(phrase: _Phrase, number: Decimal) -> bool:
    """Return whether a number after a Latin word looks like a price, and not like a model."""
    if phrase.before[-1:].isalnum() or number < _LEAST_HIGH:
        return False
    rounded = 10 if number < 1000 else 100
    return number % rounded in (0, rounded - 1)


def _read_near(phrase: _Phrase) -> Ends | None:
    amount = phrase.amount("a")
    if amount is None or not _is_compared_price(phrase, amount, _LEAST_BARE):
        return None
    is_said = phrase.is_money or phrase.group("word")
    if not is_said and _TWO_SIDES.match(phrase.group("after") + phrase.after):
        return None
    return amount.about()


def _read_budget(phrase: _Phrase) -> Ends | None:
    amount = phrase.amount("a")
    is_price = phrase.is_money or (_END.match(phrase.after) and not phrase.is_size)
    if amount is None or not is_price or amount.high < _LEAST_BARE or phrase.is_no_price:
        return None
    return (None, amount.high)


def _read_rough(phrase: _Phrase) -> Ends | None:
    """Read an amount that is not exact by itself (两三百块, 三百多), or said to be (大概100元)."""
    amount = phrase.amount("a")
    if amount is None or phrase.is_no_price:
        return None
    if not phrase.is_money:
        is_alone = _END.match(phrase.after) and not _LATIN_WORD.search(phrase.before)
        if amount.low < _LEAST_HIGH or not is_alone or phrase.is_size:
            return None
    if amount.is_exact:
        return amount.about() if phrase.group("roughly") and phrase.is_money else None
    return amount


_RULES: tuple[tuple[re.Pattern[str], Callable[[_Phrase], Ends | None]], ...] = (
    (_RANGE, _read_range),
    (_BETWEEN, _read_range),
    (_NOT_ABOVE, _read_below),
    (_BELOW, _read_below),
    (_NOT_BELOW, _read_above),
    (_ABOVE, _read_above),
    (_NEAR, _read_near),
    (_BUDGET, _read_budget),
    (_OF_BUDGET, _read_budget),
    (_ROUGH, _read_rough),
)


def find_prices(text: str) -> list[PriceWords]:
    """Return the words that say prices, in the order of the text."""
    if _MAYBE.search(text) is None:
        return []
    folded, origins = _folded(text)
    found: list[tuple[int, int, Ends]] = []
    for pattern, read in _RULES:
        for match in pattern.finditer(folded):
            start, end = match.span()
            if any(start < other_end and end > other for other, other_end, _ in found):
                continue
            ends = read(_Phrase(match))
            if ends is not None and all(one is None or one <= _MOST for one in ends):
                found.append((start, end, ends))
    return [
        PriceWords(origins[start], origins[end - 1] + 1, *map(_cents, ends))
        for start, end, ends in sorted(found, key=lambda one: one[0])
    ]


def without_words(text: str, words: Sequence[PriceWords]) -> str:
    """Return the text without these words; empty where what is left asks for nothing."""
    if not words:
        return text
    parts: list[str] = []
    end = 0
    for one in words:
        parts.append(text[end : one.start])
        end = one.end + (text[one.end : one.end + 1] == "的")
    parts.append(text[end:])
    rest = " ".join(part.strip(" \t　,，;；、。") for part in parts).strip()
    rest = _EMPTY_BRACKETS.sub(" ", rest).strip()
    return "" if _FILLING.fullmatch(rest) else rest


def _folded(text: str) -> tuple[str, list[int]]:
    """Return the text in simple characters, and where in the text each of them comes from."""
    chars: list[str] = []
    origins: list[int] = []
    for place, char in enumerate(text):
        folded = char if char == _FULL_COMMA else unicodedata.normalize("NFKC", char).lower()
        chars.append(folded)
        origins += [place] * len(folded)
    return "".join(chars).translate(_TRADITIONAL), origins


def _cents(amount: Decimal | None) -> Decimal | None:
    return None if amount is None else amount.quantize(Decimal("0.01"))
