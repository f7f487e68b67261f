"""Exercises of chapter 08, decoding."""

import numpy as np
import torch

from aigc_lab.exercises.declaring import Case, Mistake, exercise, question

# ----------------------------------------------------------------------------------- the cache


def _caches(draw):
    yield Case("one of everything", 1, 1, 1, 1, 1, 1)
    yield Case("a small model", 4, 128, 4, 4, 256, 4)
    heads = 2 ** draw.integer(1, 4)
    yield Case("shared key heads", draw.integer(2, 30), 64 * heads, heads, heads // 2, 1000, 2)


@exercise(
    title="How large is the cache?",
    minutes=5,
    statement=r"""
    A model with `n_layers` layers, width `d_model`, `n_heads` query heads and `n_kv_heads` key (and
    value) heads has read $T$ tokens of one text. How many bytes of keys and values does it keep, if
    each number takes `bytes_per_number` bytes?
    """,
    hints=[
        "In each layer, each token leaves one key and one value for each *key* head.",
        "A head is `d_model // n_heads` wide, whichever kind it is.",
    ],
    cases=_caches,
    returns="bytes: ",
    mistakes=[
        Mistake("You counted keys or values; both are kept.", "2 * n_layers", "n_layers"),
        Mistake(
            "You counted a key for each *query* head; query heads share them.",
            "n_kv_heads * head_dim",
            "n_heads * head_dim",
        ),
        Mistake("You counted one layer; each has its own.", "2 * n_layers", "2"),
        Mistake(
            "You counted T × T numbers, as for a map of weights; the cache grows with T only.",
            "* T *",
            "* T * T *",
        ),
    ],
)
def cache_bytes(
    n_layers: int, d_model: int, n_heads: int, n_kv_heads: int, T: int, bytes_per_number: int
) -> int:
    """Bytes of the keys and values of T tokens of one text."""
    head_dim = d_model // n_heads
    return 2 * n_layers * n_kv_heads * head_dim * T * bytes_per_number


# --------------------------------------------------------------------------------- temperature


def _logits_and_temperatures(draw):
    yield Case("one token", np.array([3.0]), 2.0)
    yield Case("temperature 1", draw.array(5), 1.0)
    yield Case("cold", draw.array(6, scale=2), 0.5)
    yield Case("hot", draw.array(6, scale=2), 3.0)
    yield Case("very cold", np.array([30.0, 29.0, 10.0]), 0.01)


@exercise(
    title="Temperature",
    minutes=5,
    statement=r"""
    Give the probabilities of the next token at temperature $\tau > 0$: the softmax of the logits
    divided by $\tau$. At a low temperature the quotients are large; nothing may overflow.
    """,
    hints=[
        "Divide first; then subtract the largest number, exponentiate, divide by the sum.",
    ],
    cases=_logits_and_temperatures,
    returns="V",
    mistakes=[
        Mistake(
            "You multiply by the temperature: a high one should make the choice more even.",
            "logits / temperature",
            "logits * temperature",
        ),
        Mistake(
            "You take `exp` of large numbers: at a low temperature it overflows. Subtract the "
            "largest one first.",
            " - scaled.max()",
            "",
        ),
        Mistake(
            "You ignore the temperature.",
            "logits / temperature",
            "logits",
        ),
        Mistake("You did not divide by the sum.", " / exponentials.sum()", ""),
    ],
)
def at_temperature(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Logits (V,) to probabilities (V,)."""
    scaled = logits / temperature
    exponentials = np.exp(scaled - scaled.max())
    return exponentials / exponentials.sum()


# ----------------------------------------------------------------------------------- penalty


def _logits_and_seen(draw):
    yield Case("one token", np.array([2.0]), [0], 2.0)
    yield Case("nothing was seen", draw.array(4), [], 1.3)
    yield Case("a likely token", np.array([2.0, -1.0, 0.5]), [0], 2.0)
    yield Case("an unlikely token", np.array([2.0, -1.0, 0.5]), [1], 2.0)
    yield Case("a token that came twice", np.array([2.0, -1.0, 0.5]), [2, 2], 2.0)
    yield Case("many", draw.array(8, scale=3), draw.integers(0, 8, 6), 1.2)


@exercise(
    title="The repetition penalty, and its trap",
    minutes=10,
    statement=r"""
    Make every token that is in `seen` less likely, once, however often it came: divide its logit by
    `penalty` (above 1). But a negative logit becomes *larger* when it is divided, so it has to
    be multiplied. Return new logits and leave the old ones as they are.
    """,
    hints=["`set(seen)` holds each token once.", "`logits.copy()` before you change anything."],
    cases=_logits_and_seen,
    returns="V",
    equivalent={
        "`logits[token] > 0` → `logits[token] >= 0`": "a logit of 0 stays 0 either way",
    },
    mistakes=[
        Mistake(
            "You divide negative logits, too: that makes an unlikely token that was seen *more* "
            "likely.",
            " if logits[token] > 0 else logits[token] * penalty",
            "",
        ),
        Mistake(
            "You punish a token again each time it came; this penalty counts it once.",
            "in set(seen)",
            "in seen",
            "logits[token] / penalty if logits[token] > 0 else logits[token] * penalty",
            "changed[token] / penalty if changed[token] > 0 else changed[token] * penalty",
        ),
        Mistake(
            "You subtract the penalty; it is a factor.",
            "logits[token] / penalty if logits[token] > 0 else logits[token] * penalty",
            "logits[token] - penalty",
        ),
        Mistake(
            "You have it the wrong way round: tokens that were seen become more likely.",
            "logits[token] / penalty if logits[token] > 0 else logits[token] * penalty",
            "logits[token] * penalty if logits[token] > 0 else logits[token] / penalty",
        ),
    ],
)
def penalised(logits: np.ndarray, seen: list[int], penalty: float) -> np.ndarray:
    """Logits (V,) with those of the tokens in `seen` lowered, (V,)."""
    changed = logits.copy()
    for token in set(seen):
        changed[token] = logits[token] / penalty if logits[token] > 0 else logits[token] * penalty
    return changed


# -------------------------------------------------------------------------------------- top-p


def _logits_and_shares(draw):
    def of(*probabilities):
        return torch.tensor([probabilities]).log()

    yield Case("one token", torch.zeros(1, 1), 0.5)
    yield Case("the likeliest is enough", of(0.1, 0.7, 0.2), 0.5)
    yield Case("two are needed", of(0.1, 0.6, 0.3), 0.7)
    yield Case("almost all are needed", of(0.1, 0.5, 0.25, 0.15), 0.8)
    yield Case("a small share", of(0.3, 0.45, 0.25), 0.01)
    yield Case("two rows", draw.tensor(2, 6, scale=2), 0.9)
    yield Case("many tokens", draw.tensor(3, 40, scale=2), 0.6)


_SAME_AXIS = "the same axis, counted from the other end"
_REBUILD = "order.argsort(dim=-1)"


@exercise(
    title="Top-p",
    minutes=30,
    statement=r"""
    Keep the smallest set of most likely tokens whose probabilities sum to $p$ or more, in each row
    of `logits`, of shape $(B, V)$; set the logits of all others to $-\infty$. At least one token
    stays. (No two tokens of a row are equally likely.)
    """,
    hints=[
        "Sort each row from the most likely token down, and take the running sum of the "
        "probabilities. Which tokens would you keep?",
        "A token is needed if what comes *before* it does not reach p yet.",
        "`kept.gather(-1, order.argsort(dim=-1))` brings a sorted row back to its own order.",
    ],
    cases=_logits_and_shares,
    returns="B V",
    equivalent={
        "`before < p` → `before <= p`": "sums of random probabilities do not hit p exactly",
        "`kept.gather(-1, order.argsort(dim=-1))` → `kept.gather(1, order.argsort(dim=-1))`": (
            _SAME_AXIS
        ),
        "`logits.sort(dim=-1, descending=True)` → `logits.sort(dim=1, descending=True)`": (
            _SAME_AXIS
        ),
        "`order.argsort(dim=-1)` → `order.argsort(dim=1)`": _SAME_AXIS,
        "`ordered.softmax(dim=-1)` → `ordered.softmax(dim=1)`": _SAME_AXIS,
        "`probabilities.cumsum(dim=-1)` → `probabilities.cumsum(dim=1)`": _SAME_AXIS,
    },
    pipeline="""
    from aigc_lab.generation.generate import generate
    from aigc_lab.generation.sampling import Sampling
    from aigc_lab.models.gpt import GPT, GPTConfig

    torch.manual_seed(0)
    model = GPT(GPTConfig.llama(50, d_model=32, n_layers=1, n_heads=2))


    def write():
        generator = torch.Generator().manual_seed(1)
        settings = Sampling(temperature=0.5, top_p=0.8)
        return generate(
            model, torch.tensor([[1, 2], [3, 4]]), 40, settings, generator=generator
        )


    book = write()
    with swap("aigc_lab.generation.sampling.keep_top_p", nucleus) as swapped:
        yours = write()

    print(f"your function ran {swapped.calls} times, once for each token")
    assert swapped.calls == 40
    assert torch.equal(book, yours), "the two should write the same tokens"
    """,
    mistakes=[
        Mistake(
            "You leave out the token with which the sum reaches p: the set then sums to less "
            "than p, and where one token is likely enough nothing is left.",
            "before < p",
            "before + ordered.softmax(dim=-1) < p",
        ),
        Mistake(
            "You keep the tokens that are at least p likely, each by itself; it is their *sum* "
            "that has to reach p.",
            "kept = before < p",
            "kept = (ordered.softmax(dim=-1) >= p) | (before <= 0)",
        ),
        Mistake(
            "You kept the right number of tokens in the sorted row, but did not bring it back to "
            "the order of the vocabulary.",
            f"kept.gather(-1, {_REBUILD})",
            "kept",
        ),
        Mistake(
            "You brought the row back with `order`; you need its inverse, `order.argsort()`.",
            _REBUILD,
            "order",
        ),
        Mistake(
            "You add up from the *least* likely token.",
            "descending=True",
            "descending=False",
        ),
        Mistake(
            "You return 0 for what may not be chosen: e⁰ = 1 is a probability like any other. "
            "It must be −∞.",
            "-torch.inf",
            "0.0",
        ),
    ],
)
def nucleus(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Logits (B, V), with −∞ where a token is not among those kept, (B, V)."""
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    kept = before < p
    kept[..., 0] = True  # also where rounding says otherwise
    return logits.masked_fill(~kept.gather(-1, order.argsort(dim=-1)), -torch.inf)


# ------------------------------------------------------------------------------- stop strings


def _texts_and_stops(draw):
    yield Case("nothing to stop at", "One morning", [])
    yield Case("no stop in sight", "One morning", ["\nQ:"])
    yield Case("a stop in the middle", "The end.\nQ: Who", ["\nQ:"])
    yield Case("the same stop twice", "one stop two stop", ["stop"])
    yield Case("two stops, the earlier counts", "one two three", ["three", "two"])
    yield Case("perhaps a beginning", "The end.\n", ["\nQ:"])
    yield Case("perhaps a longer beginning", "The end.\nQ", ["\nQ:", "Q?"])
    yield Case("a false start, then a true one", "ababa", ["abac"])
    yield Case("a text that is one stop", "stop", ["stop"])
    yield Case("shorter than the stop", "st", ["stop"])
    yield Case("almost", "sto stx", ["stop"])
    yield Case("inside a stop, not its beginning", "a shop", ["stop"])
    yield Case("the beginning of the second stop", "The end.\nQ", ["END", "\nQ:"])
    yield Case("the second stop has the longer one", "The end.\nQ", ["Q?", "\nQ:"])


@exercise(
    title="What may be shown",
    minutes=20,
    statement=r"""
    A model is writing, and `text` is what it has written so far. Return what may be shown of it,
    and whether the writing is over. If a stop string (none is empty) occurs, the text ends just
    before the earliest one. Otherwise hold back the longest end of the text that might still grow
    into a stop string.
    """,
    hints=[
        "`text.find(stop)` is −1 where the stop string does not occur.",
        "An end of the text is dangerous if it equals the beginning of a stop string: "
        "`text.endswith(stop[:n])`, for n from 1 to the length of the stop string less 1.",
    ],
    cases=_texts_and_stops,
    returns=("shown: ", "is over: "),
    equivalent={
        "`range(1, len(stop))` → `range(0, len(stop))`": "an empty beginning holds nothing back",
        "`max(beginnings, default=0)` → `max(beginnings, default=-1)`": (
            "a slice may end behind the end of the text"
        ),
    },
    mistakes=[
        Mistake(
            "You hold back nothing: half a stop string is shown, and cannot be taken back when "
            "the rest of it comes.",
            "text[: len(text) - held]",
            "text",
        ),
        Mistake(
            "You take the first stop string of the list that occurs, not the one that comes "
            "first in the text.",
            "min(places)",
            "places[0]",
        ),
        Mistake(
            "You show the stop string itself.",
            "text[: min(places)], True",
            "text[: min(places) + len(stops[0])], True",
        ),
        Mistake(
            "You hold back a fixed number of characters, also where they cannot be the beginning "
            "of a stop string.",
            "max(beginnings, default=0)",
            "min(len(text), max((len(stop) - 1 for stop in stops), default=0))",
        ),
        Mistake(
            "You hold back the *shortest* dangerous end; a longer one may be a beginning, too.",
            "max(beginnings, default=0)",
            "min(beginnings, default=0)",
        ),
    ],
)
def may_be_shown(text: str, stops: list[str]) -> tuple[str, bool]:
    """What may be shown of the text so far, and whether it is over."""
    places = [text.find(stop) for stop in stops if stop in text]
    if places:
        return text[: min(places)], True
    beginnings = [n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n])]
    held = max(beginnings, default=0)
    return text[: len(text) - held], False


# -------------------------------------------------------------------------- speculative decoding


def _two_distributions(draw):
    def of(n, scale=1.0):
        raw = np.exp(draw.array(n, scale=scale))
        return raw / raw.sum()

    yield Case("two tokens", np.array([0.75, 0.25]), np.array([0.5, 0.5]))
    yield Case("nothing in common", np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.5, 0.5]))
    yield Case("a sure model", np.array([0.0, 1.0, 0.0]), of(3))
    yield Case("a sure draft", of(4), np.array([0.0, 0.0, 1.0, 0.0]))
    yield Case("many tokens", of(9), of(9, 2.0))


@exercise(
    title="What the guess has left out",
    minutes=20,
    statement=r"""
    In speculative decoding a guess is drawn from the draft's distribution $q$ and kept with
    probability $\min(1, p(x)/q(x))$. Return two things: the probability that the guess, whichever
    it is, is kept; and the distribution from which a token is drawn if it is not, so that
    altogether the next token has exactly the distribution $p$. The two distributions differ.
    """,
    hints=[
        r"The token x comes from the draft *and* is kept with probability "
        r"$q(x)\min(1, p(x)/q(x)) = \min(q(x), p(x))$. What is missing from $p(x)$?",
        "What is missing is max(0, p − q). Make it sum to 1.",
    ],
    cases=_two_distributions,
    returns=("kept: ", "left over: V"),
    mistakes=[
        Mistake(
            "You draw anew from the whole of p: tokens that the draft likes then come too often, "
            "since they had their chance already.",
            "np.maximum(0, p - q)",
            "p",
        ),
        Mistake(
            "You did not make the rest sum to 1.",
            "rest / rest.sum()",
            "rest",
        ),
        Mistake(
            "You took what q has more than p; it is what p has more than q that is missing.",
            "np.maximum(0, p - q)",
            "np.maximum(0, q - p)",
        ),
        Mistake(
            "You took the size of the difference; tokens that the draft has drawn too often must "
            "get nothing.",
            "np.maximum(0, p - q)",
            "np.abs(p - q)",
        ),
        Mistake(
            "You averaged min(1, p/q) over the vocabulary as if all guesses were equally likely; "
            "they are drawn from q.",
            "np.minimum(p, q).sum()",
            "np.minimum(1, p / np.maximum(q, 1e-12)).mean()",
        ),
    ],
)
def kept_and_left_over(p: np.ndarray, q: np.ndarray) -> tuple[float, np.ndarray]:
    """Probability that a guess is kept, and what is drawn from if not, (V,).

    p: distribution of the large model, (V,).
    q: distribution of the draft, (V,).
    """
    rest = np.maximum(0, p - q)
    return np.minimum(p, q).sum(), rest / rest.sum()


# ------------------------------------------------------------------------------------ beam search


def _tables(draw):
    def table(n):
        raw = np.exp(draw.array(n, n, scale=2.0))
        return np.log(raw / raw.sum(axis=1, keepdims=True))

    trap = np.log(np.array([[0.02, 0.53, 0.45], [0.34, 0.33, 0.33], [0.9, 0.05, 0.05]]))
    yield Case("one step", table(3), 1, 1, 2, 1.0)
    yield Case("greedy is trapped", trap, 0, 2, 2, 0.0)
    yield Case("the same with one beam", trap, 0, 2, 1, 0.0)
    for penalty in (0.0, 1.0, 2.0):
        yield Case(f"penalty {penalty:g}", table(5), draw.integer(1, 5), 6, 3, penalty)
    yield Case("a longer text", table(6), 2, 8, 4, 1.0)


@exercise(
    title="Beam search",
    minutes=60,
    statement=r"""
    The model here is a table: `table[a, b]` is the log-probability that token $b$ follows token
    $a$. Starting after the token `start`, find the best text by beam search. A text ends with the
    token 0, or when it has `longest` tokens. Its score is its log-probability divided by
    $n^\alpha$, where $n$ is its number of tokens (the 0 at the end counts) and $\alpha$ is
    `penalty`.

    At each step extend each beginning by every token. Texts that have ended are put aside and take
    no place among the beams, and *all* of them take part in the comparison at the end; of the
    others keep the `n_beams` with the highest log-probability. Return the best text, without
    `start`, and its score. (No two texts have the same score.)
    """,
    hints=[
        "Keep a list of pairs (log-probability, tokens). One step makes from it a longer list of "
        "candidates.",
        "Sort the candidates into those that have ended, which go to a list of their own with "
        "their score, and those that go on, of which you keep the best `n_beams`.",
        "Beginnings are compared by their log-probability, since all have the same length; only "
        "finished texts need the division.",
    ],
    cases=_tables,
    returns=("text: ", "score: "),
    mistakes=[
        Mistake(
            "You keep one beginning only, so this is greedy decoding.",
            "[:n_beams]",
            "[:1]",
        ),
        Mistake(
            "You compare finished texts by their log-probability: short ones win. Divide by the "
            "length to the power of the penalty.",
            "total / len(text) ** penalty",
            "total",
        ),
        Mistake(
            "You forget the texts that end before the longest.",
            "text[-1] == 0 or len(text) == longest",
            "len(text) == longest",
        ),
        Mistake(
            "You keep the *worst* beginnings: sort from the highest log-probability down.",
            "reverse=True",
            "reverse=False",
        ),
        Mistake(
            "You divide by the length itself, whatever the penalty is.",
            "len(text) ** penalty",
            "len(text)",
        ),
        Mistake(
            "You multiply by the penalty; it is a power of the length.",
            "len(text) ** penalty",
            "(1 + penalty * len(text))",
        ),
    ],
)
def best_text(
    table: np.ndarray, start: int, longest: int, n_beams: int, penalty: float
) -> tuple[list[int], float]:
    """The best text that beam search finds, and its score.

    table: log-probabilities of what follows, (V, V).
    """
    beams, ended = [(0.0, [])], []
    while beams:
        longer = []
        for total, text in beams:
            last = text[-1] if text else start
            for token in range(len(table)):
                longer.append((total + float(table[last, token]), [*text, token]))
        going_on = []
        for total, text in longer:
            if text[-1] == 0 or len(text) == longest:
                ended.append((total / len(text) ** penalty, text))
            else:
                going_on.append((total, text))
        beams = sorted(going_on, reverse=True)[:n_beams]
    score, text = max(ended)
    return text, score


# -------------------------------------------------------------------------------------- questions

why_not_the_likeliest = question(
    "why_not_the_likeliest",
    title="A coin that is not fair",
    minutes=15,
    statement=r"""
    A coin shows heads with probability 0.6. What is the likeliest sequence of 100 throws, and how
    likely is it that a sequence of 100 throws looks roughly like it (at least 90 heads)? What does
    this say about a decoder that looks for the likeliest text?
    """,
    answer=r"""
    The likeliest single sequence is 100 times heads, with probability $0.6^{100} \approx 10^{-22}$.
    Every sequence with about 60 heads is less likely, but there are so many of them that together
    they have nearly all of the probability; at least 90 heads come with a probability of about
    $2 \cdot 10^{-11}$. So the likeliest sequence is nothing like a sequence that the coin
    makes. The same holds for texts: each choice between equally good names or turns of a story
    costs log-probability, so the likeliest text avoids choices. It is short and plain even if
    the model is perfect. Looking for the likeliest text is right where there is one right
    answer (a sum, a question about the story), since then the probability is not spread over
    many.
    """,
)

cheap_checks = question(
    "cheap_checks",
    title="Why checking is cheaper than writing",
    minutes=10,
    statement=r"""
    Speculative decoding saves no arithmetic: the large model computes the logits of every guess,
    also of those that are thrown away, and the draft's work is added. Why can it be faster all the
    same? When is it slower?
    """,
    answer=r"""
    To compute one token, all weights of the model have to be fetched from memory and each is used
    once; the arithmetic waits for memory. With $k$ guesses in one pass the weights are fetched once
    and used $k + 1$ times, at nearly the same cost. (In a model as small as ours it is the way
    through Python that is shared instead.) It is slower where the guesses are seldom kept, where
    the draft is not much cheaper than the model, and where the processor is busy already: with a
    large batch each weight that is fetched is used many times anyway.
    """,
)
