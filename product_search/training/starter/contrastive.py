"""Contrastive training of the trainable branch: images against all texts and one another."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from product_search.training.starter.feature_maps import FeatureMaps
from product_search.training.starter.network import TrainableBranch, channels_last
from product_search.training.starter.text_space import TextSpace, name_weights
from product_search.training.starter.words import Names

log = logging.getLogger(__name__)

EPOCHS = 8
PHOTOS, DRAWINGS = 64, 32  # of a batch
RATE, WARM_UP = 5e-4, 100
DECAY = 1e-4
AVERAGE = 0.995  # decay of the running mean of the weights, which is the result
TEMPERATURE, IMAGE_TEMPERATURE = 0.05, 0.1
SYNONYM = 0.75  # cosine from which another concept's text is neither positive nor negative
BALANCE = 0.5  # classes are sampled in proportion to their size to this power
DRAWING_WEIGHT, TEXT_TO_IMAGE_WEIGHT, IMAGE_WEIGHT = 0.5, 0.5, 0.3


@dataclass(frozen=True)
class Dataset:
    """Images in several views, the concept that each shows, and its embedding by ConSE."""

    maps: FeatureMaps  # (images, views, *MAP_SHAPE)
    conse: torch.Tensor  # (images, views, d): the ConSE part of the embedding
    concepts: NDArray[np.int64]  # (images,) rows of `TextTargets`
    trainable: NDArray[np.bool_]  # (images,) which may be sampled


@dataclass(frozen=True)
class Batch:
    """Sampled views: maps and `conse` as in a dataset, concepts, weights in the loss."""

    maps: torch.Tensor
    conse: torch.Tensor
    concepts: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True)
class TextTargets:
    """All texts against all concepts: the positives, and what is ignored as a near synonym."""

    embeddings: torch.Tensor  # (texts, d)
    positives: torch.Tensor  # (concepts, texts): shares, each row sums to 1
    ignored: torch.Tensor  # (concepts, texts), bool
    targets: torch.Tensor  # (concepts, d)

    @classmethod
    def build(
        cls, space: TextSpace, concepts: Sequence[Names], others: Sequence[str]
    ) -> TextTargets:
        """Embed the names of the concepts, and other texts that are positives of none of them."""
        texts = sorted({name for names in concepts for name in names} | set(others))
        column = {text: index for index, text in enumerate(texts)}
        positives = torch.zeros(len(concepts), len(texts))
        for row, names in zip(positives, concepts, strict=True):
            for name, share in name_weights(names).items():
                row[column[name]] = share
        embeddings = torch.from_numpy(space.embed(texts)).float()
        targets = functional.normalize(positives @ embeddings, dim=1)
        ignored = (targets @ embeddings.T > SYNONYM) & (positives == 0)
        return cls(embeddings, positives, ignored, targets)


def contrastive_loss(embedded: torch.Tensor, batch: Batch, texts: TextTargets) -> torch.Tensor:
    """Return InfoNCE from images to texts and back, and among images of one concept.

    An image has several positive texts, and a concept several images (Oord et al. 2018; Khosla
    et al. 2020).
    """
    concepts = batch.concepts
    scores = (embedded @ texts.embeddings.T / TEMPERATURE).masked_fill(
        texts.ignored[concepts], -1e4
    )
    to_texts = -(texts.positives[concepts] * scores.log_softmax(dim=1)).sum(dim=1)
    present = torch.from_numpy(np.unique(concepts.numpy()))
    of_concept = (present[:, None] == concepts[None]).float()
    back = (texts.targets[present] @ embedded.T / TEMPERATURE).log_softmax(dim=1)
    from_texts = -(of_concept / of_concept.sum(dim=1, keepdim=True) * back).sum(dim=1).mean()
    identity = torch.eye(len(concepts))
    alike = (concepts[:, None] == concepts[None]).float() - identity
    near = (embedded @ embedded.T / IMAGE_TEMPERATURE - 1e9 * identity).log_softmax(dim=1)
    several = alike.sum(dim=1) > 0
    shares = alike[several] / alike[several].sum(dim=1, keepdim=True)
    among = -(shares * near[several]).sum(dim=1).mean()
    total: torch.Tensor = (batch.weights * to_texts).sum()
    return total + TEXT_TO_IMAGE_WEIGHT * from_texts + IMAGE_WEIGHT * among


def train(
    start: TrainableBranch,
    datasets: tuple[Dataset, Dataset],
    texts: TextTargets,
    epochs: int,
    seed: int,
    after: Callable[[int, TrainableBranch], None] | None = None,
) -> TrainableBranch:
    """Train by AdamW with a cosine schedule over EPOCHS, stopped after `epochs` of them.

    Args:
        start: the branch at the start, which is not changed.
        datasets: photos, then drawings.
        texts: what the images are compared with.
        epochs: how many of EPOCHS to run.
        seed: of the sampling.
        after: called after each epoch with its number (from 1) and the averaged weights.

    Returns:
        The running mean of the weights.
    """
    moving: TrainableBranch = channels_last(copy.deepcopy(start))
    averaged = copy.deepcopy(moving)
    optimiser = torch.optim.AdamW(moving.parameters(), lr=RATE, weight_decay=DECAY)
    steps, step, rng = EPOCHS * count_batches(datasets[0]), 0, np.random.default_rng(seed)
    for epoch in range(1, epochs + 1):
        losses = []
        for batch in sample_batches(datasets, rng):
            optimiser.param_groups[0]["lr"] = learning_rate(step, steps)
            losses.append(_descend(moving, optimiser, batch, texts))
            step += 1
            update_average(averaged, moving, 1 - min(AVERAGE, 1 - 1 / (step + 1)))
        log.info("epoch %d of %d: loss %.3f", epoch, epochs, float(np.mean(losses)))
        if after is not None:
            after(epoch, averaged)
    return averaged


def _descend(
    branch: TrainableBranch, optimiser: torch.optim.Optimizer, batch: Batch, texts: TextTargets
) -> float:
    """Take one step of the optimiser and return the loss before it."""
    embedded = functional.normalize(branch(batch.maps) + batch.conse, dim=1)
    loss = contrastive_loss(embedded, batch, texts)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.item()


def learning_rate(step: int, steps: int) -> float:
    """Return the rate of a step: a linear warm-up, and half a cosine down over all steps."""
    return float(RATE * min(1.0, (step + 1) / WARM_UP) * (1 + np.cos(np.pi * step / steps)) / 2)


@torch.no_grad()
def update_average(mean: TrainableBranch, current: TrainableBranch, share: float) -> None:
    """Move each weight of `mean` this share of the way to that of `current`."""
    for old, new in zip(mean.parameters(), current.parameters(), strict=True):
        old.lerp_(new, share)


def count_batches(photos: Dataset) -> int:
    """Return the batches of an epoch, in which as many photos are sampled as there are."""
    return -(-len(photos.concepts) // PHOTOS)


def sample_batches(datasets: tuple[Dataset, Dataset], rng: np.random.Generator) -> Iterator[Batch]:
    """Sample one epoch: a view of each image, images of small classes more often."""
    photos, drawings = datasets
    sizes = np.bincount(photos.concepts[photos.trainable])[photos.concepts].astype(np.float64)
    chances = np.where(photos.trainable, np.maximum(sizes, 1) ** -BALANCE, 0)
    order = rng.choice(len(chances), len(chances), p=chances / chances.sum())
    usable = np.flatnonzero(drawings.trainable)
    for start in range(0, len(order), PHOTOS):
        chosen = np.sort(order[start : start + PHOTOS])
        of_photos = sample_views(photos, chosen, rng)
        of_drawings = sample_views(drawings, rng.choice(usable, DRAWINGS, replace=False), rng)
        maps, conse, concepts = (
            torch.cat(pair) for pair in zip(of_photos, of_drawings, strict=True)
        )
        weights = torch.cat(
            [
                torch.full((len(chosen),), 1 / len(chosen)),
                torch.full((DRAWINGS,), DRAWING_WEIGHT / DRAWINGS),
            ]
        )
        yield Batch(maps.contiguous(memory_format=torch.channels_last), conse, concepts, weights)


def sample_views(
    dataset: Dataset, chosen: NDArray[np.int64], rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sample a view of each chosen image: maps, conse, concepts."""
    views = rng.integers(0, dataset.maps.shape[1], len(chosen))
    maps = np.stack([dataset.maps[row, view] for row, view in zip(chosen, views, strict=True)])
    return (
        torch.from_numpy(maps).float(),
        dataset.conse[torch.from_numpy(chosen), torch.from_numpy(views)],
        torch.from_numpy(dataset.concepts[chosen]),
    )
