"""Contrastive training of the tail and the head: images against all texts, and one another."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from product_search.training.starter.feature_maps import Maps
from product_search.training.starter.network import Taught, channels_last
from product_search.training.starter.text_space import TextSpace, name_shares
from product_search.training.starter.words import Names

log = logging.getLogger(__name__)

EPOCHS = 8
PHOTOS, DRAWINGS = 64, 32  # of a batch
RATE, WARM_UP = 5e-4, 100
DECAY = 1e-4
AVERAGE = 0.995  # of the running mean of the weights, which is what is kept
TEMPERATURE, IMAGE_TEMPERATURE = 0.05, 0.1
SYNONYM = 0.75  # a text this near to a thing that does not bear it is neither right nor wrong
BALANCE = 0.5  # classes are drawn as often as their size to this power
DRAWING_WEIGHT, TEXT_TO_IMAGE_WEIGHT, IMAGE_WEIGHT = 0.5, 0.5, 0.3


@dataclass(frozen=True)
class Lesson:
    """Pictures in several views, the thing that each shows, and what ImageNet sees in it."""

    maps: Maps  # (images, views, *MAP_SHAPE)
    known: torch.Tensor  # (images, views, d): the published network's part of the embedding
    things: NDArray[np.int64]  # (images,) rows of `Texts`
    taught: NDArray[np.bool_]  # (images,) which may be drawn


@dataclass(frozen=True)
class Batch:
    """Some views: maps and `known` as in a lesson, the thing of each, its weight in the loss."""

    maps: torch.Tensor
    known: torch.Tensor
    things: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True)
class Texts:
    """All texts against all things: which are right, and which are left out as near synonyms."""

    embeddings: torch.Tensor  # (texts, d)
    right: torch.Tensor  # (things, texts): shares, each row sums to 1
    ignored: torch.Tensor  # (things, texts), bool
    targets: torch.Tensor  # (things, d)

    @classmethod
    def of(cls, space: TextSpace, things: Sequence[Names], others: Sequence[str]) -> Texts:
        """The names of the things, and other texts that are right for none of them."""
        texts = sorted({name for names in things for name in names} | set(others))
        column = {text: index for index, text in enumerate(texts)}
        right = torch.zeros(len(things), len(texts))
        for row, names in zip(right, things, strict=True):
            for name, share in name_shares(names).items():
                row[column[name]] = share
        embeddings = torch.from_numpy(space.embed(texts)).float()
        targets = functional.normalize(right @ embeddings, dim=1)
        ignored = (targets @ embeddings.T > SYNONYM) & (right == 0)
        return cls(embeddings, right, ignored, targets)


def loss_of(embedded: torch.Tensor, batch: Batch, texts: Texts) -> torch.Tensor:
    """InfoNCE from images to texts and back, and among images of one thing.

    Several texts are right for an image, and several images for a thing (Oord et al. 2018;
    Khosla et al. 2020).
    """
    things = batch.things
    scores = (embedded @ texts.embeddings.T / TEMPERATURE).masked_fill(texts.ignored[things], -1e4)
    to_texts = -(texts.right[things] * scores.log_softmax(dim=1)).sum(dim=1)
    shown = torch.from_numpy(np.unique(things.numpy()))
    of_thing = (shown[:, None] == things[None]).float()
    back = (texts.targets[shown] @ embedded.T / TEMPERATURE).log_softmax(dim=1)
    from_texts = -(of_thing / of_thing.sum(dim=1, keepdim=True) * back).sum(dim=1).mean()
    oneself = torch.eye(len(things))
    alike = (things[:, None] == things[None]).float() - oneself
    near = (embedded @ embedded.T / IMAGE_TEMPERATURE - 1e9 * oneself).log_softmax(dim=1)
    several = alike.sum(dim=1) > 0
    shares = alike[several] / alike[several].sum(dim=1, keepdim=True)
    among = -(shares * near[several]).sum(dim=1).mean()
    total: torch.Tensor = (batch.weights * to_texts).sum()
    return total + TEXT_TO_IMAGE_WEIGHT * from_texts + IMAGE_WEIGHT * among


def train(
    start: Taught,
    lessons: tuple[Lesson, Lesson],
    texts: Texts,
    epochs: int,
    seed: int,
    after: Callable[[int, Taught], None],
) -> Taught:
    """AdamW with a cosine schedule over EPOCHS, stopped after `epochs` of them.

    Args:
        start: where training starts from; left as it is.
        lessons: photos, then drawings.
        texts: what the images are held against.
        epochs: how many of EPOCHS to run.
        seed: of the order and choice of images.
        after: called after each epoch with its number (from 1) and the averaged weights.

    Returns:
        The running mean of the weights.
    """
    moving: Taught = channels_last(copy.deepcopy(start))
    averaged = copy.deepcopy(moving)
    optimiser = torch.optim.AdamW(moving.parameters(), lr=RATE, weight_decay=DECAY)
    steps, step, rng = EPOCHS * batches_of(lessons[0]), 0, np.random.default_rng(seed)
    for epoch in range(1, epochs + 1):
        losses = []
        for batch in batches(lessons, rng):
            optimiser.param_groups[0]["lr"] = rate_at(step, steps)
            embedded = functional.normalize(moving(batch.maps) + batch.known, dim=1)
            loss = loss_of(embedded, batch, texts)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            step += 1
            move_towards(averaged, moving, 1 - min(AVERAGE, 1 - 1 / (step + 1)))
            losses.append(loss.item())
        log.info("epoch %d of %d: loss %.3f", epoch, epochs, float(np.mean(losses)))
        after(epoch, averaged)
    return averaged


def rate_at(step: int, steps: int) -> float:
    """Up in a line over WARM_UP steps, down in a half cosine over all."""
    return float(RATE * min(1.0, (step + 1) / WARM_UP) * (1 + np.cos(np.pi * step / steps)) / 2)


@torch.no_grad()
def move_towards(mean: Taught, current: Taught, share: float) -> None:
    """Each weight of `mean` goes this share of the way to that of `current`."""
    for old, new in zip(mean.parameters(), current.parameters(), strict=True):
        old.lerp_(new, share)


def batches_of(photos: Lesson) -> int:
    """Batches of an epoch: as many photos are drawn as there are."""
    return -(-len(photos.things) // PHOTOS)


def batches(lessons: tuple[Lesson, Lesson], rng: np.random.Generator) -> Iterator[Batch]:
    """One epoch; a view of each image is drawn, and small classes are drawn more often."""
    photos, drawings = lessons
    sizes = np.bincount(photos.things[photos.taught])[photos.things].astype(np.float64)
    chances = np.where(photos.taught, np.maximum(sizes, 1) ** -BALANCE, 0)
    order = rng.choice(len(chances), len(chances), p=chances / chances.sum())
    drawable = np.flatnonzero(drawings.taught)
    for start in range(0, len(order), PHOTOS):
        chosen = np.sort(order[start : start + PHOTOS])
        shown = views_of(photos, chosen, rng)
        drawn = views_of(drawings, rng.choice(drawable, DRAWINGS, replace=False), rng)
        maps, known, things = (torch.cat(pair) for pair in zip(shown, drawn, strict=True))
        weights = torch.cat(
            [
                torch.full((len(chosen),), 1 / len(chosen)),
                torch.full((DRAWINGS,), DRAWING_WEIGHT / DRAWINGS),
            ]
        )
        yield Batch(maps.contiguous(memory_format=torch.channels_last), known, things, weights)


def views_of(
    lesson: Lesson, chosen: NDArray[np.int64], rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A random view of each chosen image: maps, known, things."""
    views = rng.integers(0, lesson.maps.shape[1], len(chosen))
    maps = np.stack([lesson.maps[row, view] for row, view in zip(chosen, views, strict=True)])
    return (
        torch.from_numpy(maps).float(),
        lesson.known[torch.from_numpy(chosen), torch.from_numpy(views)],
        torch.from_numpy(lesson.things[chosen]),
    )
