"""The space of texts, and contrastive training, on concepts small enough to check by hand."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from product_search.training.starter.contrastive import (
    DRAWINGS,
    Batch,
    Dataset,
    TextTargets,
    contrastive_loss,
    sample_batches,
    train,
    update_average,
)
from product_search.training.starter.network import MAP_SHAPE
from product_search.training.starter.text_space import (
    TITLE_SHARE,
    TextSpace,
    fit_text_space,
    l2_normalized,
    name_weights,
)

CONCEPTS = [("苹果", "红果"), ("鞋", "球鞋"), ("包", "背包")]


def plain_space(names: Sequence[tuple[str, ...]]) -> TextSpace:
    """Each text is an axis of its own."""
    texts = sorted({name for concept in names for name in concept})
    axes = np.eye(len(texts))
    return TextSpace(dict(zip(texts, axes, strict=True)), np.zeros(len(texts)), axes)


class TinyBranch(nn.Module):
    """Stands where the trainable branch does: the mean of each channel, through a linear head."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.head = nn.Linear(MAP_SHAPE[0], dimensions)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.head(maps.mean((2, 3)))
        return embedded


@pytest.fixture(scope="module")
def datasets() -> tuple[Dataset, Dataset]:
    """Pictures whose maps tell their concept by one bright channel."""
    rng = np.random.default_rng(0)

    def dataset(concepts: list[int]) -> Dataset:
        maps = rng.random((len(concepts), 2, *MAP_SHAPE)).astype(np.float16)
        for row, concept in enumerate(concepts):
            maps[row, :, concept] += 3
        conse = torch.zeros(len(concepts), 2, 6)
        return Dataset(maps, conse, np.array(concepts), np.ones(len(concepts), np.bool_))

    return dataset([0] * 60 + [1] * 8 + [2] * 8), dataset([0, 1, 2] * 12)


def test_the_first_name_weighs_most_and_all_sum_to_one() -> None:
    shares = name_weights(("苹果", "红果", "水果"))
    assert shares["苹果"] == TITLE_SHARE
    assert shares["红果"] == shares["水果"]
    assert sum(shares.values()) == pytest.approx(1)
    assert name_weights(("苹果",)) == {"苹果": 1.0}


def test_names_of_one_concept_come_closer_in_the_fitted_space() -> None:
    rng = np.random.default_rng(0)
    kinds, noise = rng.normal(size=(30, 512)), rng.normal(size=512)
    vectors, concepts = {}, []
    for index, kind in enumerate(kinds):
        names = tuple(f"{index}-{name}" for name in range(4))
        concepts.append(names)
        for name in names:  # names differ along one direction that says nothing of the kind
            vectors[name] = l2_normalized(kind + 4 * rng.normal() * noise / 512**0.5)
    space = fit_text_space(vectors, [names[0] for names in concepts], concepts)

    def nearness(of: dict[str, np.ndarray]) -> float:
        rows = np.stack([of[name] for names in concepts for name in names])
        same = np.kron(np.eye(30), np.ones((4, 4))) - np.eye(120) > 0
        scores = rows @ rows.T
        return float(scores[same].mean() - scores[np.kron(np.eye(30), np.ones((4, 4))) == 0].mean())

    embedded = space.embed(vectors)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1)
    after = dict(zip(vectors, embedded, strict=True))
    assert nearness(after) > nearness(vectors) + 0.01


def test_near_synonyms_of_another_concept_are_neither_positive_nor_negative() -> None:
    space = plain_space([*CONCEPTS, ("手袋",)])
    space.vectors["手袋"][:] = space.vectors["包"] * 0.9 + space.vectors["背包"] * 0.9
    texts = TextTargets.build(space, CONCEPTS, ["手袋"])
    column = sorted({name for names in CONCEPTS for name in names} | {"手袋"}).index("手袋")
    assert texts.ignored[:, column].tolist() == [False, False, True]
    assert texts.positives.sum(dim=1).tolist() == pytest.approx([1, 1, 1])
    assert not (texts.ignored & (texts.positives > 0)).any()


def test_the_loss_is_lower_the_nearer_images_are_to_their_texts() -> None:
    texts = TextTargets.build(plain_space(CONCEPTS), CONCEPTS, [])
    concepts = torch.tensor([0, 0, 1, 2])
    batch = Batch(torch.empty(0), torch.empty(0), concepts, torch.full((4,), 0.25))
    right, wrong = texts.targets[concepts], texts.targets[(concepts + 1) % 3]
    half = functional.normalize(right + wrong, dim=1)
    losses = [float(contrastive_loss(embedded, batch, texts)) for embedded in (right, half, wrong)]
    assert losses[0] < losses[1] < losses[2]


def test_small_classes_are_sampled_more_often_than_their_share(
    datasets: tuple[Dataset, Dataset],
) -> None:
    rng = np.random.default_rng(0)
    seen = torch.cat(
        [b.concepts[:-DRAWINGS] for _ in range(20) for b in sample_batches(datasets, rng)]
    )
    share = float((seen != 0).float().mean())
    assert share == pytest.approx(2 * 8**0.5 / (2 * 8**0.5 + 60**0.5), abs=0.03)


def test_images_that_are_not_trainable_are_never_sampled(datasets: tuple[Dataset, Dataset]) -> None:
    photos, drawings = datasets
    kept = Dataset(photos.maps, photos.conse, photos.concepts, photos.concepts != 1)
    rng = np.random.default_rng(0)
    seen = [b.concepts[:-DRAWINGS] for _ in range(5) for b in sample_batches((kept, drawings), rng)]
    assert set(torch.cat(seen).tolist()) == {0, 2}


def test_training_brings_images_to_their_texts_and_repeats_bit_for_bit(
    datasets: tuple[Dataset, Dataset],
) -> None:
    texts = TextTargets.build(plain_space(CONCEPTS), CONCEPTS, [])
    torch.manual_seed(0)
    start = TinyBranch(6)
    before = copy.deepcopy(start.state_dict())

    def nearness(network: nn.Module) -> float:
        """Mean cosine of the images with their own texts, less that with all texts."""
        with torch.no_grad():
            maps = torch.from_numpy(datasets[0].maps[:, 0]).float()
            scores = functional.normalize(network(maps), dim=1) @ texts.targets.T
        own = scores[torch.arange(len(scores)), torch.from_numpy(datasets[0].concepts)]
        return float((own - scores.mean(dim=1)).mean())

    epochs: list[int] = []
    results = [
        train(start, datasets, texts, 8, 0, lambda epoch, _: epochs.append(epoch))  # type: ignore[arg-type]
        for _ in range(2)
    ]
    assert epochs == [*range(1, 9)] * 2
    assert nearness(results[0]) > nearness(start) + 0.001
    for name, weight in results[0].state_dict().items():
        assert torch.equal(weight, results[1].state_dict()[name])
    assert all(torch.equal(weight, before[name]) for name, weight in start.state_dict().items())


def test_the_running_mean_goes_its_share_of_the_way() -> None:
    mean, current = TinyBranch(2), TinyBranch(2)
    expected = mean.head.weight * 0.75 + current.head.weight * 0.25
    update_average(mean, current, 0.25)  # type: ignore[arg-type]
    torch.testing.assert_close(mean.head.weight, expected)
