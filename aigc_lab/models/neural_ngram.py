"""The neural n-gram: a network in place of the table of counts.

    last n-1 tokens → their vectors, side by side ((n-1)·C) → tanh layer (hidden) → logits (V)

A table knows nothing about a context that it has not seen. The network sees vectors: contexts of
similar vectors get similar predictions, and which tokens are similar is learned.

Source: Bengio, Ducharme, Vincent and Jauvin 2003, without the paper's optional direct connections
from the vectors to the logits.
"""

import torch
import torch.nn.functional as F
from torch import nn


class NeuralNGram(nn.Module):
    """Predicts the next token from the last n - 1 tokens.

    Args:
        vocab_size: number of token ids V.
        n: length of an n-gram; the context is one shorter.
        d_model: width C of a token's vector.
        hidden: width of the hidden layer.

    Raises:
        ValueError: n below 2 (nothing to look at), or a size below 1.
    """

    def __init__(self, vocab_size: int, n: int, d_model: int = 32, hidden: int = 128):
        super().__init__()
        if n < 2:
            raise ValueError(f"n={n} must be at least 2: the context has n - 1 tokens")
        for name, size in (("vocab_size", vocab_size), ("d_model", d_model), ("hidden", hidden)):
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        self.n = n
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.hidden = nn.Linear((n - 1) * d_model, hidden)
        self.head = nn.Linear(hidden, vocab_size)
        nn.init.normal_(self.head.weight, std=0.02)  # so that it starts by guessing: loss log V
        nn.init.zeros_(self.head.bias)

    def forward(self, contexts: torch.Tensor) -> torch.Tensor:
        """Logits of the token after each context: `(N, n-1)` to `(N, V)`.

        Raises:
            ValueError: contexts of another length.
        """
        if contexts.dim() != 2 or contexts.shape[1] != self.n - 1:
            raise ValueError(
                f"contexts must have shape (N, n-1) = (N, {self.n - 1}), not "
                f"{tuple(contexts.shape)}; `contexts_and_targets` makes them"
            )
        vectors = self.embedding(contexts).flatten(1)  # (N, (n-1)·C)
        return self.head(self.hidden(vectors).tanh())

    @torch.no_grad()
    def nats(self, tokens: torch.Tensor, start: int) -> torch.Tensor:
        """Minus the log-probability of each token but the first: `(T,)` to `(T - 1,)`.

        `start` is the token that stands for "before the text", as in `contexts_and_targets`.
        """
        contexts, targets = contexts_and_targets(tokens, self.n, start)
        parts = zip(contexts.split(4096), targets.split(4096), strict=True)
        return torch.cat([F.cross_entropy(self(c), t, reduction="none") for c, t in parts])


def contexts_and_targets(
    tokens: torch.Tensor, n: int, start: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut a text into contexts and the tokens that follow them.

    Args:
        tokens: ids `(T,)`, at least two.
        n: length of an n-gram.
        start: token put in front where a context would begin before the text.

    Returns:
        contexts `(T - 1, n - 1)` and targets `(T - 1,)`: all tokens but the first.

    Raises:
        ValueError: fewer than two tokens.
    """
    if tokens.dim() != 1 or len(tokens) < 2:
        raise ValueError(
            f"tokens must have shape (T,) with T at least 2, not {tuple(tokens.shape)}: the first "
            "token is given, not predicted"
        )
    padded = F.pad(tokens, (n - 2, 0), value=start)  # (n - 2 + T,)
    return padded.unfold(0, n - 1, 1)[:-1], tokens[1:]
