"""A policy and a value head on one body: what PPO trains.

Shapes: B replies, R columns of replies, V tokens in the vocabulary, C = d_model.

Sources: Ziegler et al. 2019, Huang et al. 2024.
"""

import torch
from torch import nn

from aigc_lab.alignment.replies import ReplyBatch
from aigc_lab.models.gpt import GPT


class ActorCritic(nn.Module):
    """A policy and a value head that reads the same vectors.

    Args:
        policy: a GPT, which is trained along and not copied.
        kl_coefficient: β at the start; it is kept here to be part of checkpoints.
    """

    def __init__(self, policy: GPT, kl_coefficient: float = 0.1):
        super().__init__()
        self.policy = policy
        self.value_head = nn.Linear(policy.config.d_model, 1)
        nn.init.zeros_(self.value_head.weight)  # values begin at 0: no opinion on any token
        nn.init.zeros_(self.value_head.bias)
        self.register_buffer("kl_coefficient", torch.tensor(kl_coefficient))

    def forward(
        self, batch: ReplyBatch, temperature: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits `(B, R, V)` and values `(B, R)` in front of each token of the replies.

        A value may see what was written before its token and not the token itself, so both are
        read one column earlier.
        """
        vectors = self.policy.vectors(batch.tokens, attention_mask=batch.attention_mask)
        vectors = vectors[:, batch.n_prompt - 1 : -1]  # (B, R, C)
        return self.policy.head(vectors) / temperature, self.value_head(vectors)[..., 0]
