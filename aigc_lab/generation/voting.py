"""Several answers in place of one: votes, and the exact sum over all ways to an answer.

A model that writes steps r before its answer a gives an answer in many ways:
p(a | q) = Σ_r p(r | q) p(a | q, r). Samples estimate the sum; where the texts are short it can be
worked out.

Source: Wang et al. 2023 (self-consistency).
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

import torch

from aigc_lab.models.gpt import GPT
from aigc_lab.models.modes import evaluation_mode


def majority_vote(answers: Sequence[Hashable | None]) -> Hashable | None:
    """The answer that most agree on; of equally many the one that came first.

    None stands for a text in which no answer was found, and has no vote.
    """
    votes = Counter(answer for answer in answers if answer is not None)
    return max(votes, key=votes.__getitem__) if votes else None  # keys are in order of arrival


class Paths(NamedTuple):
    """Texts that a model may write: their ids, their probabilities, and what is left over."""

    texts: list[list[int]]
    probabilities: list[float]
    missing: float


@torch.no_grad()
def all_paths(
    model: GPT,
    prompt: Sequence[int],
    end: int,
    smallest: float = 1e-5,
    max_new_tokens: int = 48,
) -> Paths:
    """Every text after a prompt, but for those that are less likely than `smallest`.

    All beginnings of one length are extended at once; a beginning less likely than `smallest` is
    given up. Its probability is counted, so it is known how much the texts that are found can lack.

    Args:
        model: the model; plain sampling is meant, at temperature 1.
        prompt: token ids.
        end: the token that ends a text; it is not part of the ids that are returned.
        smallest: probability of a beginning below which it is given up.
        max_new_tokens: longer texts are given up, too.

    Returns:
        The texts, likeliest first; with `missing` their probabilities sum to 1.

    Raises:
        ValueError: `smallest` is not above 0 and below 1.
    """
    if not 0 < smallest < 1:
        raise ValueError(f"smallest={smallest} must be above 0 and below 1: it ends the search")
    device = model.embedding.weight.device
    start = torch.tensor([list(prompt)])
    beginnings = torch.empty(1, 0, dtype=torch.long)
    p = torch.ones(1, dtype=torch.double)
    found: list[tuple[float, list[int]]] = []
    with evaluation_mode(model):
        for _ in range(max_new_tokens):
            rows = torch.cat([start.expand(len(beginnings), -1), beginnings], dim=1).to(device)
            logits = torch.cat([model(part, last_only=True)[:, 0] for part in rows.split(512)])
            longer = p[:, None] * logits.cpu().double().softmax(-1)  # (N, V)
            ended = longer[:, end].tolist()
            found += zip(ended, beginnings.tolist(), strict=True)
            longer[:, end] = 0
            row, token = (longer >= smallest).nonzero(as_tuple=True)
            if not len(row):
                break
            beginnings = torch.cat([beginnings[row], token[:, None]], dim=1)
            p = longer[row, token]
    found.sort(key=lambda item: -item[0])
    probabilities = [p for p, _ in found]
    return Paths([text for _, text in found], probabilities, max(0.0, 1 - sum(probabilities)))


def add_up(
    paths: Paths, read: Callable[[list[int]], Hashable | None]
) -> dict[Hashable | None, float]:
    """p(answer) as the sum over its paths, likeliest first; under None what gives no answer.

    Each sum is at most `paths.missing` too small.
    """
    total: Counter = Counter()
    for text, p in zip(paths.texts, paths.probabilities, strict=True):
        total[read(text)] += p
    return dict(total.most_common())


def shares_of(answers: Iterable[Hashable | None]) -> dict[Hashable | None, float]:
    """The estimate of p(answer) from samples: how many of them give each answer, as shares."""
    counts = Counter(answers)
    return {answer: n / counts.total() for answer, n in counts.most_common()}
