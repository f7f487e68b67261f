"""A reward model: a GPT that reads a prompt with a reply and gives one number for it.

    tokens (B, T) → GPT without its output layer → vector of the last real token (B, C) → score (B,)

The last token of a reply is the only one that has seen all of it. The score has no unit and no
zero of its own: only differences between replies to the same prompt are learned.

Sources: Ziegler et al. 2019, Stiennon et al. 2020.
"""

from dataclasses import dataclass

import torch
from torch import nn

from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.heads import last_real


@dataclass(frozen=True)
class RewardConfig(GPTConfig):
    """Of a `RewardModel`: what its GPT is made of."""


class RewardModel(GPT):
    """A GPT with a head for one number; its output layer for tokens is not used.

    It has the names of a GPT's parameters, so `start_from` gives it the weights of one.
    """

    def __init__(self, config: GPTConfig):
        super().__init__(config)
        self.score = nn.Linear(config.d_model, 1)
        # Weights of N(0, 1/√(C+1)): scores of about unit size at the start (Stiennon et al. 2020).
        nn.init.normal_(self.score.weight, std=(config.d_model + 1) ** -0.5)
        nn.init.zeros_(self.score.bias)

    def forward(
        self, tokens: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Scores `(B,)`.

        Args:
            tokens: ids `(B, T)` of prompts with replies.
            attention_mask: boolean `(B, T)`, False for padding on either side; by default none.

        Raises:
            ValueError: as for `GPT`, or a row of padding only.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(tokens, dtype=torch.bool)
        vectors = self.vectors(tokens, attention_mask=attention_mask)  # (B, T, C)
        return self.score(last_real(vectors, attention_mask))[:, 0]

    @torch.no_grad()
    def normalise(self, mean: float, std: float) -> None:
        """Change the head so that scores with this mean and deviation get mean 0 and deviation 1.

        Raises:
            ValueError: a deviation that is not above 0.
        """
        if not std > 0:
            raise ValueError(f"std={std} must be above 0: do all replies have the same score?")
        self.score.bias.sub_(mean).div_(std)
        self.score.weight.div_(std)
