"""Losses of models that are not read from left to right alone."""

import torch
import torch.nn.functional as F
from torch import nn

from aigc_lab.data.sentence_batches import PAD, PairBatch
from aigc_lab.data.spans import SpanBatch


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


def span_loss(model: nn.Module, batch: SpanBatch) -> torch.Tensor:
    """Mean of the cross-entropies of start and end in nats, summed over the questions: a scalar.

    Args:
        model: a `SpanReader`.
        batch: of questions.

    Source: Devlin et al. 2019.
    """
    starts, ends = model(batch.tokens, batch.attention_mask, batch.segments, batch.allowed)
    start_loss = F.cross_entropy(starts, batch.starts, reduction="sum")
    return (start_loss + F.cross_entropy(ends, batch.ends, reduction="sum")) / 2
