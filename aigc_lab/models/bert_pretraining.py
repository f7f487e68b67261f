"""The two tasks that pretrain BERT: what was hidden, and whether two parts belong together.

Shapes: B pairs, T tokens, C = d_model, V = vocab_size.

Source: Devlin et al. 2019.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from aigc_lab.data.masking import MaskedBatch
from aigc_lab.data.synthetic import NO_TARGET
from aigc_lab.models.bert import BERT, BERTConfig, initialise, make_norm


class PretrainingOutput(NamedTuple):
    """Logits of the two tasks.

    Attributes:
        prediction_logits: of the token at each place, `(B, T, V)`.
        seq_relationship_logits: `(B, 2)`: 0, the second segment follows the first; 1, it does not.
    """

    prediction_logits: torch.Tensor
    seq_relationship_logits: torch.Tensor


class BERTForPretraining(nn.Module):
    """BERT with a head that predicts masked tokens and one that judges the second segment."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.config = config
        self.bert = BERT(config)
        self.transform = nn.Linear(config.d_model, config.d_model)
        self.transform_norm = make_norm(config)
        self.prediction_bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.seq_relationship = nn.Linear(config.d_model, 2)
        for module in (self.transform, self.seq_relationship):
            initialise(module, config.init_std)

    def forward(
        self,
        tokens: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        segments: torch.Tensor | None = None,
    ) -> PretrainingOutput:
        """Logits of both tasks; arguments and errors as for `BERT`."""
        out = self.bert(tokens, attention_mask, segments)
        return PretrainingOutput(
            self.predict(out.last_hidden_state), self.seq_relationship(out.pooler_output)
        )

    def predict(self, states: torch.Tensor) -> torch.Tensor:
        """Logits `(..., V)` of the tokens behind vectors `(..., C)`; the embedding decodes."""
        x = self.transform_norm(F.gelu(self.transform(states)))
        return F.linear(x, self.bert.token_embedding.weight, self.prediction_bias)


def masked_loss(model: BERTForPretraining, batch: MaskedBatch) -> torch.Tensor:
    """Cross-entropy of the chosen tokens in nats, summed: a scalar tensor.

    The output layer runs at the chosen places only, since it is the widest part of a small model.
    """
    return _losses(model, batch)[0]


def pretraining_loss(model: BERTForPretraining, batch: MaskedBatch) -> torch.Tensor:
    """The loss of both tasks in nats, times the number of chosen tokens: a scalar tensor.

    A training loop divides by `batch.n_targets`. It then gets what the paper minimises, the mean
    over the chosen tokens plus the mean over the pairs.
    """
    masked, related = _losses(model, batch)
    return masked + batch.n_targets * related


def _losses(model: BERTForPretraining, batch: MaskedBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Summed over the chosen tokens; mean over the pairs."""
    out = model.bert(batch.tokens, batch.attention_mask, batch.segments)
    chosen = batch.targets != NO_TARGET
    logits = model.predict(out.last_hidden_state[chosen])  # (number of targets, V)
    masked = F.cross_entropy(logits, batch.targets[chosen], reduction="sum")
    return masked, F.cross_entropy(model.seq_relationship(out.pooler_output), batch.labels)
