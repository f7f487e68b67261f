"""N-gram language models: the next token from counts of what followed the last n - 1 tokens.

A context is the tuple of the last n - 1 tokens, or of fewer at the beginning of a text. In the
formulas h is a context, h' the same without its first token, and w a token; c(hw) is how often
w followed h, and c(h·) how often anything did.

    add-k          p(w | h) = (c(hw) + k) / (c(h·) + k·V)
    interpolated   p(w | h) = λ · c(hw) / c(h·) + (1 - λ) · p(w | h')
    Kneser-Ney     p(w | h) = max(c(hw) - d, 0) / c(h·) + d · N(h·) / c(h·) · p(w | h')

N(h·) is the number of different tokens that followed h. Below the longest contexts Kneser-Ney
counts something else, see `continuation_counts`. The last two end at 1/V, the same for all tokens.

Sources: Jelinek and Mercer 1980 (interpolation), Kneser and Ney 1995, Chen and Goodman 1999 (the
interpolated form of Kneser-Ney, and a comparison).
"""

import operator
from collections import Counter
from collections.abc import Sequence

import numpy as np

Gram = tuple[int, ...]  # a context and the token after it


def count_ngrams(tokens: Sequence[int], n: int) -> Counter[Gram]:
    """How often each n tokens in a row occur."""
    return Counter(zip(*(tokens[start:] for start in range(n)), strict=False))


def continuation_counts(longer: Counter[Gram]) -> Counter[Gram]:
    """After how many different tokens each (n-1)-gram occurs, from the counts of n-grams.

    "Francisco" may be frequent and yet follow a single word; in a place where it was never seen
    it is unlikely, and this count says so.
    """
    return Counter(gram[1:] for gram in longer)


class NGram:
    """What all n-gram models share; `AddK`, `Interpolated` and `KneserNey` give probabilities.

    Args:
        tokens: the training text as ids; documents stand one after another, with a special token
            between them.
        n: length of an n-gram; the context is one shorter.
        vocab_size: number of token ids V.

    Raises:
        ValueError: n below 1, fewer than n tokens, or an id outside the vocabulary.
    """

    def __init__(self, tokens: Sequence[int], n: int, vocab_size: int):
        tokens = [operator.index(token) for token in tokens]
        if not 1 <= n <= len(tokens):
            raise ValueError(f"n={n} must lie between 1 and the number of tokens, {len(tokens)}")
        if min(tokens) < 0 or max(tokens) >= vocab_size:
            raise ValueError(
                f"token ids from {min(tokens)} to {max(tokens)} do not fit vocab_size={vocab_size}:"
                " is it that of the tokenizer which made them?"
            )
        self.n, self.vocab_size = n, vocab_size
        self.counts = self._count(tokens)  # self.counts[length of the context][gram]
        self.totals = [Counter() for _ in range(n)]  # c(h·)
        for counts, totals in zip(self.counts, self.totals, strict=True):
            for gram, count in counts.items():
                totals[gram[:-1]] += count

    def _count(self, tokens: list[int]) -> list[Counter[Gram]]:
        return [count_ngrams(tokens, length + 1) for length in range(self.n)]

    def probability(self, token: int, context: Sequence[int] = ()) -> float:
        """Probability that `token` comes next; of `context` the last n - 1 tokens count."""
        return self._probability(token, self._shorten(context))

    def _probability(self, token: int, context: Gram) -> float:
        raise NotImplementedError

    def _shorten(self, context: Sequence[int]) -> Gram:
        return tuple(context[max(0, len(context) - self.n + 1) :])

    def distribution(self, context: Sequence[int] = ()) -> np.ndarray:
        """Probabilities of all tokens, `(V,)`."""
        context = self._shorten(context)
        return np.array([self._probability(token, context) for token in range(self.vocab_size)])

    def nats(self, tokens: Sequence[int]) -> np.ndarray:
        """Minus the log-probability of each token but the first, given those before it.

        Args:
            tokens: a text of N ids.

        Returns:
            `(N - 1,)` in nats; infinite where the model holds a token for impossible. The
            exponential of the mean is the perplexity.
        """
        tokens = [operator.index(token) for token in tokens]
        found = [
            self._probability(tokens[end], tuple(tokens[max(0, end - self.n + 1) : end]))
            for end in range(1, len(tokens))
        ]
        with np.errstate(divide="ignore"):
            return -np.log(found)

    def sample(
        self, n_tokens: int, rng: np.random.Generator, context: Sequence[int] = ()
    ) -> list[int]:
        """Write `n_tokens` tokens after `context`, each drawn from the model's distribution."""
        text = list(context)
        for _ in range(n_tokens):
            p = self.distribution(text)
            text.append(int(rng.choice(self.vocab_size, p=p / p.sum())))  # rounding: nearly 1
        return text[len(context) :]


class AddK(NGram):
    """Adds k to every count; k = 0 is maximum likelihood, k = 1 is Laplace's rule.

    After a context that was never seen all tokens are equally likely (for k = 0 by convention: it
    is the limit of small k).

    Raises:
        ValueError: as for `NGram`, or a negative k.
    """

    def __init__(self, tokens: Sequence[int], n: int, vocab_size: int, k: float = 1.0):
        if k < 0:
            raise ValueError(f"k={k} must be at least 0")
        super().__init__(tokens, n, vocab_size)
        self.k = k

    def _probability(self, token: int, context: Gram) -> float:
        length = len(context)
        total = self.totals[length][context] + self.k * self.vocab_size
        if total == 0:
            return 1 / self.vocab_size
        return (self.counts[length][(*context, token)] + self.k) / total


class Interpolated(NGram):
    """Mixes the estimates of all context lengths; `weight` (λ) is the share of the longer one.

    Raises:
        ValueError: as for `NGram`, or a weight outside 0 to 1.
    """

    def __init__(self, tokens: Sequence[int], n: int, vocab_size: int, weight: float = 0.5):
        if not 0 <= weight <= 1:
            raise ValueError(f"weight={weight} must lie between 0 and 1")
        super().__init__(tokens, n, vocab_size)
        self.weight = weight

    def _probability(self, token: int, context: Gram) -> float:
        length = len(context)
        shorter = self._probability(token, context[1:]) if context else 1 / self.vocab_size
        total = self.totals[length][context]
        if total == 0:  # never seen: the shorter context must do
            return shorter
        longer = self.counts[length][(*context, token)] / total
        return self.weight * longer + (1 - self.weight) * shorter


class KneserNey(NGram):
    """Interpolated Kneser-Ney: takes d from every count and gives it to the shorter context.

    Args:
        tokens, n, vocab_size: as for `NGram`.
        discount: d; by default, for each length, n₁ / (n₁ + 2·n₂), where n₁ and n₂ are how many
            n-grams have a count of 1 and of 2 (Ney, Essen and Kneser 1994).

    Raises:
        ValueError: as for `NGram`, or a discount outside 0 to 1.
    """

    def __init__(
        self, tokens: Sequence[int], n: int, vocab_size: int, discount: float | None = None
    ):
        if discount is not None and not 0 <= discount <= 1:
            raise ValueError(f"discount={discount} must lie between 0 and 1")
        super().__init__(tokens, n, vocab_size)
        self.followers = [Counter(gram[:-1] for gram in counts) for counts in self.counts]  # N(h·)
        self.discounts = [
            estimate_discount(counts) if discount is None else discount for counts in self.counts
        ]

    def _count(self, tokens: list[int]) -> list[Counter[Gram]]:
        counts = [count_ngrams(tokens, self.n)]
        while len(counts) < self.n:
            counts.insert(0, continuation_counts(counts[0]))
        return counts

    def _probability(self, token: int, context: Gram) -> float:
        length = len(context)
        shorter = self._probability(token, context[1:]) if context else 1 / self.vocab_size
        total = self.totals[length][context]
        if total == 0:
            return shorter
        discount = self.discounts[length]
        kept = max(self.counts[length][(*context, token)] - discount, 0) / total
        given_away = discount * self.followers[length][context] / total
        return kept + given_away * shorter


def estimate_discount(counts: Counter[Gram]) -> float:
    """n₁ / (n₁ + 2·n₂), or 0.5 where nothing occurs once or twice."""
    once, twice = (sum(count == times for count in counts.values()) for times in (1, 2))
    return once / (once + 2 * twice) if once + twice else 0.5
