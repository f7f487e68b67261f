"""Losses of models that are not read from left to right alone."""

import torch
import torch.nn.functional as F
from torch import nn

from aigc_lab.data.sentence_batches import PAD, PairBatch


def translation_loss(
    model: nn.Module, batch: PairBatch, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Cross-entropy of the translations in nats, summed over their tokens: a scalar tensor.

    With label smoothing ε the target is no longer all on the right word: 1 - ε of it is, and ε is
    spread evenly over all V words, the right one among them. The loss then asks for logits that
    differ by a finite amount, and its least value is above 0.

    Args:
        model: an encoder–decoder.
        batch: of sentence pairs.
        label_smoothing: ε, at least 0 and below 1.

    Source: Szegedy et al. 2016 for label smoothing.
    """
    logits = model(batch.source, batch.read)  # (B, T, V)
    return F.cross_entropy(
        logits.flatten(0, 1),
        batch.targets.flatten(),
        ignore_index=PAD,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
