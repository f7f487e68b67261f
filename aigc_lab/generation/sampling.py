"""From logits to the next token: greedy, temperature, top-k, top-p, min-p, repetition penalty.

Each function takes logits `(B, V)` and returns logits `(B, V)`; what may not be chosen becomes -∞.
They are applied in the order in which `Sampling` lists them.

Sources: Fan, Lewis and Dauphin 2018 (top-k), Holtzman et al. 2020 (top-p, "nucleus"), Nguyen et al.
2024 (min-p), Keskar et al. 2019 (repetition penalty).
"""

from dataclasses import dataclass

import torch

GREEDY = 0.0


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Args:
        repetition_penalty: above 1 makes tokens that occurred before less likely.
        temperature: divides the logits: below 1 makes likely tokens more likely, above 1 less;
            0 always takes the most likely one (greedy).
        top_k: only the k most likely tokens may be chosen.
        top_p: only the smallest set of most likely tokens whose probabilities reach p.
        min_p: only tokens at least p times as likely as the most likely one.

    Raises:
        ValueError: a setting outside its range.
    """

    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def __post_init__(self) -> None:
        if self.repetition_penalty <= 0:
            raise ValueError(f"repetition_penalty={self.repetition_penalty} must be above 0")
        if self.temperature < 0:
            raise ValueError(f"temperature={self.temperature} must be at least 0")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k={self.top_k} must be at least 1")
        for name in ("top_p", "min_p"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name}={value} must be above 0 and at most 1")

    def adjust(self, logits: torch.Tensor, seen: torch.Tensor | None = None) -> torch.Tensor:
        """Apply all settings to the logits `(B, V)`; `seen` holds the tokens so far, `(B, T)`."""
        if self.repetition_penalty != 1 and seen is not None:
            logits = penalise_repetition(logits, seen, self.repetition_penalty)
        if self.temperature not in (GREEDY, 1):
            logits = logits / self.temperature
        if self.top_k is not None:
            logits = keep_top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = keep_top_p(logits, self.top_p)
        if self.min_p is not None:
            logits = keep_min_p(logits, self.min_p)
        return logits

    def choose(
        self,
        logits: torch.Tensor,
        seen: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Return the next token of each sequence, `(B,)`."""
        if self.temperature == GREEDY:
            return self.adjust(logits, seen).argmax(dim=-1)
        return draw(self.probabilities(logits, seen), generator)

    def probabilities(self, logits: torch.Tensor, seen: torch.Tensor | None = None) -> torch.Tensor:
        """Probability with which each token is chosen, `(B, V)`; 1 for a single one if greedy."""
        logits = self.adjust(logits, seen)
        if self.temperature == GREEDY:
            best = logits.argmax(dim=-1, keepdim=True)
            return torch.zeros_like(logits).scatter(-1, best, 1.0)
        return logits.softmax(dim=-1)


def draw(probabilities: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Draw one index from each row of probabilities `(B, V)`: `(B,)`.

    The index is where the sum of probabilities passes a random number between 0 and 1.
    """
    sums = probabilities.double().cumsum(dim=-1)
    shape = (*probabilities.shape[:-1], 1)
    random = torch.rand(shape, generator=generator, dtype=torch.double, device=sums.device)
    # Times the last sum, which rounding keeps from being exactly 1; "right" passes over
    # tokens of probability 0.
    return torch.searchsorted(sums, random * sums[..., -1:], right=True).squeeze(-1)


def penalise_repetition(logits: torch.Tensor, seen: torch.Tensor, penalty: float) -> torch.Tensor:
    """Divide positive logits of tokens that occurred by `penalty`, multiply negative ones by it."""
    of_seen = logits.gather(1, seen)
    changed = torch.where(of_seen < 0, of_seen * penalty, of_seen / penalty)
    return logits.scatter(1, seen, changed)


def keep_top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest logits of each row, and what equals the k-th."""
    kth = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < kth, -torch.inf)


def keep_top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the smallest set of most likely tokens whose probabilities sum to p or more."""
    ordered, order = logits.sort(dim=-1, stable=True)
    # Leave out the least likely as long as they sum to no more than 1 - p. Summed from the small
    # ones up, so that rounding does not cut off the tail: with p = 1 everything stays.
    left_out = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    left_out[..., -1] = False  # the most likely token always stays
    return logits.masked_fill(left_out.gather(-1, order.argsort(dim=-1)), -torch.inf)


def keep_min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep tokens at least p times as likely as the most likely one."""
    probabilities = logits.softmax(dim=-1)
    threshold = p * probabilities.amax(dim=-1, keepdim=True)
    return logits.masked_fill(probabilities < threshold, -torch.inf)
