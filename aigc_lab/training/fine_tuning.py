"""Fine-tuning a classifier: a short loop that watches the loss on other texts.

Shapes: B texts of a batch, N texts, K classes.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from aigc_lab.data.labelled import Encode, Labelled, LabelledBatch, LabelledTexts
from aigc_lab.models.modes import evaluation_mode
from aigc_lab.training.loop import training_steps
from aigc_lab.training.optimizers import make_optimizers
from aigc_lab.training.run_folder import TrainSettings

TEXTS_AT_ONCE = 64


@dataclass(frozen=True)
class FineTuning:
    """How to fine-tune.

    Args:
        n_steps, n_warmup: updates, and those in which the learning rate rises.
        batch_size: texts of an update; each comes once before any comes again.
        lr: highest learning rate.
        weight_decay: of matrices.
        seed: of the order of the texts and of dropout.
        evaluate_every: steps from one look at the held-out texts to the next; 0 for none.
        keep_best: whether the model ends with the parameters that had the least held-out loss
            (early stopping, except that the steps after it are made and thrown away).

    Raises:
        ValueError: a number that is too small, or `keep_best` without a look.
    """

    n_steps: int
    batch_size: int = 16
    lr: float = 1e-3
    n_warmup: int = 10
    weight_decay: float = 0.01
    seed: int = 0
    evaluate_every: int = 0
    keep_best: bool = False

    def __post_init__(self) -> None:
        at_least = {"n_steps": 1, "batch_size": 1, "n_warmup": 0, "weight_decay": 0}
        for name, least in {**at_least, "evaluate_every": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")
        if not self.lr > 0:
            raise ValueError(f"lr={self.lr} must be above 0, such as 1e-3")
        if self.keep_best and not self.evaluate_every:
            raise ValueError("keep_best=True needs evaluate_every, such as 10: it must look")


@dataclass(frozen=True)
class Look:
    """The losses at one time, in nats per text: on the texts that are learned, and on others."""

    step: int
    train_loss: float
    held_out_loss: float


def fine_tune(
    model: nn.Module,
    encode: Encode,
    examples: Sequence[Labelled],
    settings: FineTuning,
    held_out: Sequence[Labelled] = (),
) -> list[Look]:
    """Train those parameters of a classifier that learn; it is left in evaluation mode.

    Args:
        model: gives logits `(B, K)` for tokens and an attention mask.
        encode: makes these of texts.
        examples: to learn from.
        settings: see there.
        held_out: to look at, if the settings ask for it.

    Returns:
        The looks: before the first step, every so many steps, and at the end.

    Raises:
        ValueError: nothing to learn from, or nothing to look at though the settings ask for it.
        FloatingPointError: the loss or a gradient is not finite.
    """
    if settings.evaluate_every and not held_out:
        raise ValueError(f"evaluate_every={settings.evaluate_every} needs texts that are held out")
    torch.manual_seed(settings.seed)  # of dropout
    source = LabelledTexts(examples, encode, settings.batch_size, settings.seed)
    optimizers = make_optimizers(model, settings.lr, weight_decay=settings.weight_decay)
    told = TrainSettings(settings.n_steps, n_warmup=min(settings.n_warmup, settings.n_steps))
    looks: list[Look] = []
    best, kept = np.inf, None

    def look(step: int) -> None:
        nonlocal best, kept
        train_loss, loss = (mean_class_loss(model, encode, some) for some in (examples, held_out))
        looks.append(Look(step, train_loss, loss))
        if settings.keep_best and loss < best:
            best, kept = loss, copy.deepcopy(model.state_dict())

    every = settings.evaluate_every
    if every:
        look(0)
    for progress, _ in training_steps(model, optimizers, source, told, class_loss):
        if every and (progress.step % every == 0 or progress.step == settings.n_steps):
            look(progress.step)
    if kept is not None:
        model.load_state_dict(kept)
    return looks


def class_loss(model: nn.Module, batch: LabelledBatch) -> torch.Tensor:
    """Cross-entropy of the classes in nats, summed over the texts: a scalar tensor."""
    logits = model(batch.tokens, batch.attention_mask)
    return F.cross_entropy(logits, batch.labels, reduction="sum")


def predict(model: nn.Module, encode: Encode, examples: Sequence[Labelled]) -> np.ndarray:
    """Logits `(N, K)` of the texts, without dropout.

    Raises:
        ValueError: no text.
    """
    if not examples:
        raise ValueError("examples is empty: nothing to predict")
    found = []
    with torch.no_grad(), evaluation_mode(model):
        for first in range(0, len(examples), TEXTS_AT_ONCE):
            texts = [example.text for example in examples[first : first + TEXTS_AT_ONCE]]
            found.append(model(*encode(texts)))
    return torch.cat(found).double().numpy()


def labels_of(examples: Sequence[Labelled]) -> np.ndarray:
    """The classes `(N,)`."""
    return np.array([example.label for example in examples])


def accuracy(model: nn.Module, encode: Encode, examples: Sequence[Labelled]) -> float:
    """Share of texts whose class has the largest logit."""
    said = predict(model, encode, examples).argmax(axis=1)
    return float((said == labels_of(examples)).mean())


def mean_class_loss(model: nn.Module, encode: Encode, examples: Sequence[Labelled]) -> float:
    """Mean cross-entropy in nats per text, without dropout."""
    logits = torch.from_numpy(predict(model, encode, examples))
    return F.cross_entropy(logits, torch.from_numpy(labels_of(examples))).item()
