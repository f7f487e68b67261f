"""Heads for other tasks on a pretrained body, and which of the parameters learn.

    BERT → pooler_output (B, C) → dropout → linear → logits (B, K)      a class for a text
    GPT → vector of the last real token (B, C) → linear → (B, K)        the same
    BERT → last_hidden_state (B, T, C) → linear → start and end (B, T)  a span of a text

Shapes: B rows, T tokens, C = d_model, K classes.

Sources: Radford et al. 2018 (a head on a causal model), Devlin et al. 2019.
"""

from dataclasses import dataclass

import torch
from torch import nn

from aigc_lab.models.bert import BERT, BERTConfig
from aigc_lab.models.gpt import GPT

PARTS = ("head", "last block", "all")


class BERTClassifier(nn.Module):
    """BERT with a linear layer on its pooled vector.

    Args:
        bert: the body, which is trained along and not copied.
        n_classes: K.
        dropout: share of the pooled vector's numbers that are set to 0 in training.
    """

    def __init__(self, bert: BERT, n_classes: int, dropout: float = 0.0):
        super().__init__()
        self.body = bert
        self.dropout = nn.Dropout(dropout)
        self.head = new_head(bert.config.d_model, n_classes)

    def forward(
        self,
        tokens: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        segments: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits `(B, K)`; arguments and errors as for `BERT`."""
        return self.head(self.dropout(self.body(tokens, attention_mask, segments).pooler_output))


class GPTClassifier(nn.Module):
    """GPT whose output layer gives classes in place of tokens; the last real token's count.

    A causal model's last token is the only one that has seen the whole text.

    Args:
        gpt: the body. It is trained along and not copied, and it loses its output layer.
        n_classes: K.
        dropout: share of the vector's numbers that are set to 0 in training.
    """

    def __init__(self, gpt: GPT, n_classes: int, dropout: float = 0.0):
        super().__init__()
        self.body = gpt
        self.dropout = nn.Dropout(dropout)
        self.head = new_head(gpt.config.d_model, n_classes)
        gpt.head = nn.Identity()  # so that it gives vectors (B, T, C)

    def forward(
        self, tokens: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits `(B, K)`.

        Args:
            tokens: ids `(B, T)`.
            attention_mask: boolean `(B, T)`, False for padding; by default there is none.
        """
        vectors = self.body(tokens, attention_mask=attention_mask)  # (B, T, C)
        if attention_mask is None:
            attention_mask = torch.ones_like(tokens, dtype=torch.bool)
        return self.head(self.dropout(last_real(vectors, attention_mask)))


def last_real(vectors: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The vector of each row's last token that is not padding, wherever the padding is.

    Args:
        vectors: `(B, T, C)`.
        attention_mask: boolean `(B, T)`, False for padding.

    Returns:
        `(B, C)`.

    Raises:
        ValueError: shapes that differ, or a row of padding only.
    """
    if vectors.shape[:2] != attention_mask.shape:
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}, but there are vectors for "
            f"{tuple(vectors.shape[:2])} tokens"
        )
    if not attention_mask.any(dim=1).all():
        row = int((~attention_mask.any(dim=1)).nonzero()[0, 0])
        raise ValueError(f"row {row} is padding only: leave empty texts out")
    places = torch.arange(attention_mask.shape[1], device=vectors.device)
    last = (places * attention_mask).argmax(dim=1)  # (B,)
    return vectors[torch.arange(len(vectors), device=vectors.device), last]


@dataclass(frozen=True)
class ReaderConfig(BERTConfig):
    """Of a `SpanReader`: what its BERT is made of."""


class SpanReader(nn.Module):
    """BERT that marks where an answer begins and where it ends."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.config = config
        self.bert = BERT(config)
        self.spans = new_head(config.d_model, 2)

    def forward(
        self,
        tokens: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        segments: torch.Tensor | None = None,
        allowed: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of the answer's first and last token, `(B, T)` each.

        Args:
            tokens, attention_mask, segments: as for `BERT`.
            allowed: boolean `(B, T)`; elsewhere the logits are −∞. By default everywhere.
        """
        logits = self.spans(self.bert(tokens, attention_mask, segments).last_hidden_state)
        if allowed is not None:
            logits = logits.masked_fill(~allowed[..., None], -torch.inf)
        starts, ends = logits.unbind(-1)
        return starts, ends


def new_head(d_model: int, n_outputs: int) -> nn.Linear:
    """A linear layer with small random weights, as BERT's and GPT-2's own.

    Raises:
        ValueError: fewer than two outputs.
    """
    if n_outputs < 2:
        raise ValueError(f"n_classes={n_outputs} must be at least 2: yes and no are two classes")
    head = nn.Linear(d_model, n_outputs)
    nn.init.normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return head


def train_only(model: BERTClassifier | GPTClassifier, part: str) -> int:
    """Let a part of a classifier learn, and freeze the rest.

    Args:
        model: the classifier.
        part: "head", the new layer only; "last block", also the last block and what comes after
            it in the body (BERT's pooler, GPT's last norm); "all".

    Returns:
        The number of parameters that learn.

    Raises:
        ValueError: an unknown part.
    """
    if part not in PARTS:
        raise ValueError(f"part={part!r} is not one of {PARTS}")
    model.requires_grad_(part == "all")
    model.head.requires_grad_(True)
    if part == "last block":
        body = model.body
        body.blocks[-1].requires_grad_(True)
        (body.pooler if isinstance(body, BERT) else body.norm).requires_grad_(True)
    return n_trainable(model)


def n_trainable(model: nn.Module) -> int:
    """Number of parameters that learn; a table that is used twice counts once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def set_dropout(model: nn.Module, share: float) -> None:
    """Change the share of numbers that every dropout layer of a model sets to 0 in training.

    Raises:
        ValueError: a share below 0 or from 1 on.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share={share} must be at least 0 and less than 1")
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share
        elif isinstance(getattr(module, "dropout", None), float):  # GPT's blocks
            module.dropout = share
