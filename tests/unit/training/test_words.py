"""The words of training and report, and that no query of the report is a training text."""

from __future__ import annotations

from collections import Counter

from product_search.encoders.colour import COLOURS
from product_search.training.starter import words


def test_every_class_of_the_photo_sets_has_words() -> None:
    expected = [f"grocery:{index}" for index in range(81)]
    expected += [f"clothing:{index}" for index in range(10)]
    assert sorted(words.photo_words()) == sorted(expected)
    assert all(len(names) >= 10 for names in words.photo_words().values())


def test_all_imagenet_classes_are_named_and_no_two_alike() -> None:
    names = words.imagenet_names()
    assert len(names) == 1000
    assert all(names)
    assert max(Counter(map(frozenset, names)).values()) == 1
    assert names[504][0] == "马克杯"
    assert names[999][0] in ("卫生纸", "厕纸", "卷纸")


def test_the_hundred_held_out_objects_are_no_training_objects() -> None:
    held = words.held_out_names()
    assert len(held) == 100
    assert not held.keys() & words.emoji_names().keys()
    first = [names[0] for names in held.values()]
    assert len(set(first)) == 100


def test_no_name_of_a_held_out_object_is_that_of_another_emoji_or_a_photo() -> None:
    held = {name for names in words.held_out_names().values() for name in names}
    others = [*words.emoji_names().values(), *words.photo_words().values()]
    assert not held & {name for names in others for name in names}


def test_every_class_has_paraphrases() -> None:
    asked = words.paraphrases()
    assert asked.keys() == words.photo_words().keys()
    assert all(asked.values())
    assert sum(map(len, asked.values())) == 221  # of 273 that were written


def test_what_differs_by_a_particle_or_a_space_is_no_paraphrase() -> None:
    assert words.canonical("深红色的 苹果") == words.canonical("深红色苹果")
    assert words.canonical("God Morgon橙汁") == words.canonical("godmorgon橙汁")
    every = {text for texts in words.paraphrases().values() for text in texts}
    assert "深红色的苹果" not in every


def test_unknown_queries_name_no_class() -> None:
    unknown = words.unknown_queries()
    assert len(unknown) == len(set(unknown)) == 170
    titles = {names[0] for names in words.photo_words().values()}
    assert not [text for text in unknown if any(title in text for title in titles)]


def test_colour_queries_ask_for_known_colours_or_none() -> None:
    asked = words.colour_queries()
    assert len(asked) == 100
    assert {colour for _, colour in asked} == {*COLOURS, "-"}
