"""The starter head's maths and pictures, on hand-computed cases; no weights, no network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from product_search.training import starter_data
from product_search.training.starter_head import (
    Head,
    Lesson,
    Material,
    Pairs,
    Standard,
    average_precision,
    fit,
    image_to_image_precision,
    largest_within_one_error,
    normalised,
    precision,
    rank_figures,
    recall_at,
    ridge,
)


def random_pairs() -> Pairs:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 6)) * rng.uniform(0.1, 9, size=6) + 5
    return Pairs(features, rng.normal(size=(40, 3)), rng.uniform(0.2, 2, size=40))


def random_material() -> Material:
    rng = np.random.default_rng(0)
    words = {"苹果": ("水果",), "鞋子": ("球鞋",)}
    photos = [
        starter_data.Photo(Path("x.jpg"), title, title, words[title], "photo")
        for title in [*words] * 8
    ]
    texts = ["苹果", "鞋子", "水果", "球鞋", "帽子", "伞"]
    return Material(
        photos,
        [starter_data.Emoji(Path("y.webp"), "帽子", ())],
        rng.normal(size=(16, 2, 6)),
        rng.normal(size=(1, 7, 6)),
        rng.normal(size=(1, 6)),
        [("伞",)],
        dict(zip(texts, normalised(rng.normal(size=(len(texts), 4))), strict=True)),
    )


def test_average_precision_is_the_mean_of_precisions_at_relevant_ranks() -> None:
    relevant = np.array([True, False, True, False])
    assert average_precision(relevant) == pytest.approx((1 + 2 / 3) / 2)


def test_average_precision_divides_by_the_depth_when_more_is_relevant_than_fits() -> None:
    assert average_precision(np.array([True, True, True, True]), depth=2) == pytest.approx(1.0)
    assert average_precision(np.array([False, True, True, True]), depth=2) == pytest.approx(0.25)


def test_precision_lets_a_class_of_two_reach_one() -> None:
    relevant = np.array([True, True] + [False] * 20)
    assert precision(relevant) == pytest.approx(1.0)
    assert precision(relevant[::-1]) == pytest.approx(0.0)


def test_queries_without_anything_relevant_do_not_count() -> None:
    scores = np.array([[0.1, 0.9], [0.3, 0.2]])
    figures = rank_figures(scores, np.array([[True, False], [False, False]]))
    assert figures.mean_average_precision == pytest.approx(0.5)
    assert figures.precision == pytest.approx(1.0)


def test_an_image_looked_up_never_counts_as_its_own_hit() -> None:
    crowd, twins, strangers = [[1, 0, 0]] * 12, [[0, 1, 0]] * 2, [[0, 0, 1], [0, 0, -1]]
    embeddings = np.array([*crowd, *twins, *strangers], np.float64)
    labels = np.array([0] * 12 + [1] * 2 + [2] * 2)
    # Crowd and twins find their own; each stranger ranks the other last, beyond ten.
    assert image_to_image_precision(embeddings, labels) == pytest.approx(14 / 16)


def test_recall_counts_queries_whose_item_is_near_the_top() -> None:
    scores = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]])
    assert recall_at(scores, [0, 1], 1) == pytest.approx(0.5)
    assert recall_at(scores, [0, 1], 2) == pytest.approx(1.0)


def test_the_largest_penalty_within_one_standard_error_is_chosen() -> None:
    assert largest_within_one_error([0.80, 0.82, 0.81, 0.70], [0.02] * 4) == 2
    assert largest_within_one_error([0.82, 0.80, 0.70], [0.001] * 3) == 0


def test_the_folded_ridge_equals_the_ridge_over_standardised_features() -> None:
    pairs, penalty = random_pairs(), 3.0
    standard = Standard.of(pairs.features)
    inputs = np.column_stack([standard.apply(pairs.features), np.ones(len(pairs.features))])
    penalties = np.diag([penalty] * 6 + [0.0])  # the intercept's column goes unpunished
    weighted = inputs * pairs.weights[:, None]
    solution = np.linalg.solve(weighted.T @ inputs + penalties, weighted.T @ pairs.targets)

    weight, bias = ridge(pairs, standard, penalty)

    np.testing.assert_allclose(pairs.features @ weight + bias, inputs @ solution, atol=1e-10)


def test_a_weight_of_two_is_a_pair_seen_twice() -> None:
    pairs = random_pairs()
    standard = Standard.of(pairs.features)
    doubled = Pairs(pairs.features, pairs.targets, np.array([2.0] + [1.0] * 39))
    repeated = Pairs(
        np.concatenate([pairs.features[:1], pairs.features]),
        np.concatenate([pairs.targets[:1], pairs.targets]),
        np.ones(41),
    )
    heads = ridge(doubled, standard, 1.0), ridge(repeated, standard, 1.0)
    for one, other in zip(*heads, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10)


def test_standardising_can_be_undone() -> None:
    features = random_pairs().features
    standard = Standard.of(features)
    np.testing.assert_allclose(standard.undo(standard.apply(features)), features)


def test_fitting_the_same_material_twice_gives_the_same_head() -> None:
    lesson = Lesson(np.ones(16, np.bool_), np.ones(1, np.bool_), classes=True)
    first, second = fit(random_material(), lesson, 1.0), fit(random_material(), lesson, 1.0)
    assert np.array_equal(first.weight, second.weight)
    assert np.array_equal(first.bias, second.bias)


def test_what_is_outside_the_lesson_leaves_no_trace_in_the_head() -> None:
    material = random_material()
    photos = np.arange(16) < 8
    lesson = Lesson(photos, np.zeros(1, np.bool_), classes=False)
    before = fit(material, lesson, 1.0)
    material.photo_features[~photos] += 100.0
    material.emoji_features[:] += 100.0
    assert np.array_equal(before.weight, fit(material, lesson, 1.0).weight)


def test_embeddings_have_length_one() -> None:
    rng = np.random.default_rng(0)
    head = Head(rng.normal(size=(6, 4)), rng.normal(size=4), rng.normal(size=4))
    images, texts = rng.normal(size=(5, 6)), rng.normal(size=(5, 4))
    for vectors in (head.embed_images(images), head.embed_texts(texts)):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0)


def test_every_class_of_the_photo_sets_has_words() -> None:
    assert sorted(starter_data.grocery_words()) == list(range(81))
    assert sorted(starter_data.clothing_words()) == list(range(10))


def test_imagenet_names_stay_within_its_classes() -> None:
    assert all(0 <= index < 1000 for index in starter_data.imagenet_words())


def test_emoji_that_show_no_thing_are_left_out() -> None:
    points = set(starter_data.emoji_code_points())
    assert {ord("👜"), ord("💻"), ord("☕"), ord("👟")} <= points
    assert not points & {ord("😀"), ord("👍"), ord("❤"), ord("🏠"), ord("🔴"), ord("👩")}


def test_emoji_without_a_picture_or_a_name_are_passed_over(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    picture.save(tmp_path / f"{ord('👜'):x}.webp", lossless=True)
    picture.save(tmp_path / f"{ord('🖨'):x}-fe0f.webp", lossless=True)
    names = tmp_path / "annotations.json"
    annotation = {"default": ["包包", "手提包", "一", "二", "三"], "tts": ["手提包"]}
    annotations = {"annotations": {"annotations": {"👜": annotation, "💻": annotation}}}
    names.write_text(json.dumps(annotations), encoding="utf-8")
    (found,) = starter_data.read_emoji(tmp_path, names)
    assert found.name == "手提包"
    assert found.words == ("女包", "手提包", "皮包", "包包", "一", "二")


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(path)
    assert starter_data.open_picture(path).getpixel((0, 0)) == (255, 255, 255)


def test_an_emoji_is_shown_on_every_ground(tmp_path: Path) -> None:
    path = tmp_path / "dot.webp"
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(path, lossless=True)
    variants = starter_data.emoji_variants(path)
    assert len(variants) == len(starter_data.GROUNDS) + 2
    assert len({picture.getpixel((5, 5)) for picture in variants}) == len(starter_data.GROUNDS)


def test_labels_are_read_with_their_words(tmp_path: Path) -> None:
    text = "image_path,class_id,title_zh,title_en,kind\nimages/a.jpg,7,鞋,shoe,photo\n"
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    (photo,) = starter_data.read_photos(tmp_path, {7: ("球鞋",)})
    assert photo.label == f"{tmp_path.name}:7"
    assert (photo.title, photo.words, photo.kind) == ("鞋", ("球鞋",), "photo")
    assert photo.path == tmp_path / "images/a.jpg"
