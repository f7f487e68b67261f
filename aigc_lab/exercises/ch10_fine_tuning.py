"""Exercises of chapter 10, fine-tuning."""

import string
from collections import Counter

import numpy as np
import torch

from aigc_lab.exercises.declaring import Case, Mistake, exercise, question

# --------------------------------------------------------------------------------------- measures


def _judgements(draw):
    yield Case("all right", [1, 0], [1, 0])
    yield Case("one of each kind", [1, 1, 0, 0], [1, 0, 1, 0])
    yield Case("nothing was called spam", [1, 0, 0], [0, 0, 0])
    yield Case("there is no spam", [0, 0, 0], [0, 1, 0])
    yield Case("neither", [0, 0], [0, 0])
    yield Case("more found than missed", [1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 1, 1, 1, 0])
    yield Case("many", draw.integers(0, 2, 40), draw.integers(0, 2, 40))


@exercise(
    title="Precision, recall, F1",
    minutes=5,
    statement=r"""
    For each message, `truth` has 1 for spam and 0 for ham, and `said` has what the model says.
    Return precision (of what was called spam, the share that is spam), recall (of the spam, the
    share that was called so) and F1, their harmonic mean $2PR/(P+R)$. A quotient 0/0 counts as 0.
    """,
    hints=["Three counts are enough: right spam, called spam, true spam."],
    cases=_judgements,
    equivalent={
        "`zip(truth, said, strict=True)` → `zip(truth, said, strict=False)`": (
            "the lists are equally long"
        ),
    },
    returns=("precision: ", "recall: ", "F1: "),
    mistakes=[
        Mistake(
            "You exchanged precision and recall: precision is about what was *said*.",
            "return precision, recall, f1",
            "return recall, precision, f1",
        ),
        Mistake(
            "You took the arithmetic mean; the harmonic one is low if either is low.",
            "2 * right / (n_said + n_true) if n_said + n_true else 0.0",
            "(precision + recall) / 2",
        ),
        Mistake(
            "Where nothing was called spam, precision is 0/0: that counts as 0 here, not 1.",
            "right / n_said if n_said else 0.0",
            "right / n_said if n_said else 1.0",
        ),
        Mistake(
            "Ham that was called ham is in your count of right answers; spam is what is looked "
            "for.",
            "t == s == 1",
            "t == s",
        ),
    ],
)
def spam_scores(truth: list[int], said: list[int]) -> tuple[float, float, float]:
    """Precision, recall and F1 of class 1."""
    right = sum(t == s == 1 for t, s in zip(truth, said, strict=True))
    n_said, n_true = sum(said), sum(truth)
    precision = right / n_said if n_said else 0.0
    recall = right / n_true if n_true else 0.0
    f1 = 2 * right / (n_said + n_true) if n_said + n_true else 0.0
    return precision, recall, f1


def _probabilities(draw):
    yield Case("one answer, sure and right", np.array([1.0]), np.array([1]), 10)
    yield Case("one answer, sure and wrong", np.array([1.0]), np.array([0]), 10)
    yield Case("one bin", np.array([0.2, 0.6]), np.array([0, 1]), 1)
    yield Case("two bins of different sizes", np.array([0.1, 0.2, 0.9]), np.array([1, 0, 1]), 2)
    yield Case("errors of both signs", np.array([0.3, 0.3, 0.8, 0.8]), np.array([1, 1, 0, 1]), 4)
    p = draw.rng.random(50)
    yield Case("many", p, (draw.rng.random(50) < p**2).astype(int), 5)


@exercise(
    title="Expected calibration error",
    minutes=15,
    statement=r"""
    `probability` holds how sure a model was, for each of $N$ answers, that something is so;
    `is_true` has 1 where it was and 0 elsewhere. Sort the answers into `n_bins` bins of equal width
    between 0 and 1 (bin number $\min(\lfloor p M \rfloor, M - 1)$ of $M$). Within each bin take the
    distance between the mean probability and the share that is true; return the mean of the
    distances, each bin counted as often as it has answers.
    """,
    hints=[
        "An empty bin counts nothing: leave it out, or its mean is 0/0.",
        "The sum over a bin divided by $N$ is its mean times its weight.",
    ],
    cases=_probabilities,
    mistakes=[
        Mistake(
            "You took the distance of the whole set: errors of bins with different signs cancel.",
            "total += abs(probability[mine].sum() - is_true[mine].sum())",
            "total += probability[mine].sum() - is_true[mine].sum()",
            "return total / len(probability)",
            "return abs(total) / len(probability)",
        ),
        Mistake(
            "You count every bin alike; a bin with few answers is mostly chance.",
            "total += abs(probability[mine].sum() - is_true[mine].sum())",
            "total += abs(probability[mine].mean() - is_true[mine].mean()) if mine.any() else 0",
            "return total / len(probability)",
            "return total / len(set(bins.tolist()))",
        ),
        Mistake(
            "You compare each single answer with 0 or 1: that is no statement about a group.",
            "abs(probability[mine].sum() - is_true[mine].sum())",
            "abs(probability[mine] - is_true[mine]).sum()",
        ),
        Mistake(
            "A probability of 1 falls out of your last bin.",
            "np.minimum((probability * n_bins).astype(int), n_bins - 1)",
            "(probability * n_bins).astype(int)",
        ),
    ],
)
def expected_calibration_error(probability: np.ndarray, is_true: np.ndarray, n_bins: int) -> float:
    """The error, from 0 to 1; probability and is_true: (N,)."""
    bins = np.minimum((probability * n_bins).astype(int), n_bins - 1)
    total = 0.0
    for number in range(n_bins):
        mine = bins == number
        total += abs(probability[mine].sum() - is_true[mine].sum())
    return total / len(probability)


# ------------------------------------------------------------------------------------- one vector


def _padded(draw):
    def case(label, mask):
        mask = torch.tensor(mask).bool()
        return Case(label, draw.tensor(*mask.shape, 3), mask)

    yield case("no padding", [[1, 1]])
    yield case("one token", [[1, 0, 0]])
    yield case("padding on the right", [[1, 1, 0, 0], [1, 1, 1, 0]])
    yield case("padding on the left", [[0, 0, 1, 1], [0, 1, 1, 1]])
    yield case("both, and one row whole", [[0, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 1]])


@exercise(
    title="The last real token",
    minutes=10,
    statement=r"""
    A causal model has made a vector of each token; a classifier needs one for the row. Take that of
    the last token that is not padding, the only one that has seen the whole text. Padding may
    stand on the right, on the left or on both sides.
    """,
    hints=[
        "Counting the real tokens gives the place only if there is no padding on the left.",
        "Multiply the mask by the places 0, 1, 2, …: where is the largest?",
    ],
    cases=_padded,
    returns="B C",
    gradients="vectors",
    pipeline="""
    from functools import partial

    from aigc_lab.data.labelled import encode_for_gpt
    from aigc_lab.models.heads import GPTClassifier
    from aigc_lab.models.shipped import load_shipped

    torch.manual_seed(0)
    gpt, tokenizer = load_shipped("base")
    model = GPTClassifier(gpt, 2).eval()
    tokens, mask = encode_for_gpt(tokenizer, ["One morning Mei was", "Long ago"], 32)
    with torch.no_grad():
        book = model(tokens, mask)
        with swap("aigc_lab.models.heads.last_real", last_vectors) as swapped:
            yours = model(tokens, mask)

    print(f"your function ran {swapped.calls} time; logits differ by {(book - yours).abs().max()}")
    assert swapped.calls == 1
    assert torch.equal(book, yours)
    """,
    mistakes=[
        Mistake(
            "You take the last place of the row: that is padding in the shorter rows.",
            lambda vectors, mask: vectors[:, -1],
        ),
        Mistake(
            "You count the real tokens; with padding on the left the last one stands further on.",
            lambda vectors, mask: vectors[torch.arange(len(vectors)), mask.long().sum(1) - 1],
        ),
        Mistake(
            "You take the first token, as for BERT; in a causal model it has seen nothing.",
            lambda vectors, mask: vectors[torch.arange(len(vectors)), mask.long().argmax(1)],
        ),
        Mistake(
            "You take the mean of the tokens; the last one was asked for.",
            lambda vectors, mask: (vectors * mask[..., None]).sum(1) / mask.sum(1, keepdim=True),
        ),
        Mistake(
            "You take the place *after* the last token: that is one too far.",
            lambda vectors, mask: vectors[
                torch.arange(len(vectors)),
                ((torch.arange(mask.shape[1]) * mask).argmax(1) + 1) % mask.shape[1],
            ],
        ),
    ],
)
def last_vectors(vectors: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Vectors (B, T, C), mask (B, T), True for tokens, to (B, C)."""
    places = torch.arange(attention_mask.shape[1])
    last = (places * attention_mask).argmax(dim=1)
    return vectors[torch.arange(len(vectors)), last]


# -------------------------------------------------------------------------------------- freezing

_NAMES = (
    "bert.token_embedding.weight",
    "bert.norm.weight",
    *(f"bert.blocks.{n}.{part}" for n in (0, 1, 2, 10, 11) for part in ("up.weight", "norm.bias")),
    "bert.pooler.weight",
    "head.weight",
    "head.bias",
)


def _names(draw):
    yield Case("nothing but the head", list(_NAMES), 12, 0)
    yield Case("the last block", list(_NAMES), 12, 1)
    yield Case("the last two", list(_NAMES), 12, 2)
    yield Case("a body of three blocks", [*_NAMES[:8], "head.weight"], 3, 1)
    yield Case("all blocks", list(_NAMES), 12, 12)
    chosen = sorted(draw.rng.choice(len(_NAMES), 9, replace=False).tolist())
    yield Case("some names", [_NAMES[number] for number in chosen], 12, draw.integer(1, 12))


@exercise(
    title="Who learns?",
    minutes=10,
    statement=r"""
    `names` are the names of a classifier's parameters, such as `bert.blocks.11.up.weight`, and its
    body has `n_blocks` blocks, numbered from 0. Return, in the same order, the names of those that
    learn: everything that belongs to the head (`head.…`); and, if `n_last` is above 0, the last
    `n_last` blocks and the pooler (`bert.pooler.…`). The embeddings and their norm stay frozen.
    """,
    hints=[
        "`name.split('.')` gives the parts; the block's number is the third.",
        "Compare the numbers as numbers: as texts, '10' comes before '2'.",
    ],
    cases=_names,
    mistakes=[
        Mistake(
            "You forgot the head: it is new and random, and it must learn.",
            'parts[0] == "head"',
            "False",
        ),
        Mistake(
            "You compare the blocks' numbers as texts: '2' comes after '10'.",
            "int(parts[2]) >= n_blocks - n_last",
            "parts[2] >= str(n_blocks - n_last)",
        ),
        Mistake(
            "You let the *first* blocks learn; the last ones are nearest to the task.",
            "int(parts[2]) >= n_blocks - n_last",
            "int(parts[2]) < n_last",
        ),
        Mistake(
            "You forgot the pooler, which stands between the last block and the head.",
            'parts[1] == "pooler"',
            "False",
        ),
        Mistake(
            "With no block at all the pooler stays frozen, too.",
            'if n_last and parts[1] == "pooler"',
            'if parts[1] == "pooler"',
        ),
        Mistake(
            "You took one block too many.",
            "n_blocks - n_last",
            "n_blocks - n_last - 1",
        ),
    ],
)
def learning_names(names: list[str], n_blocks: int, n_last: int) -> list[str]:
    """The names of the parameters that learn."""
    found = []
    for name in names:
        parts = name.split(".")
        if parts[0] == "head":
            found.append(name)
        if parts[1] == "blocks" and int(parts[2]) >= n_blocks - n_last:
            found.append(name)
        if n_last and parts[1] == "pooler":
            found.append(name)
    return found


# ------------------------------------------------------------------------------------------ spans


def _span_logits(draw):
    no = -np.inf
    yield Case("one token", np.array([0.0, 1.0]), np.array([0.0, 1.0]), 3)
    yield Case("no answer", np.array([3.0, 1.0]), np.array([3.0, 1.0]), 3)
    yield Case("a tie with no answer", np.array([1.0, 1.0]), np.array([1.0, 1.0]), 3)
    yield Case(
        "the best end is before the best start",
        np.array([0.0, no, 1.0, 2.0, 9.0]),
        np.array([0.0, no, 9.0, 2.0, 0.5]),
        4,
    )
    yield Case(
        "the best pair is too long",
        np.array([0.0, 9.0, 1.0, 1.0, 3.0]),
        np.array([0.0, 1.0, 2.0, 3.0, 9.0]),
        2,
    )
    yield Case(
        "just long enough", np.array([0.0, 9.0, 1.0, 1.0]), np.array([0.0, 1.0, 2.0, 9.0]), 3
    )
    yield Case(
        "one end at [CLS]", np.array([0.0, 2.0, 7.0, 0.0]), np.array([8.0, 0.0, 0.0, 5.0]), 3
    )
    yield Case("[CLS] is a good start", np.array([3.0, 1.0]), np.array([1.0, 2.0]), 3)
    yield Case("it would begin at [CLS]", np.array([6.0, 2.0, 0.0]), np.array([0.0, 5.0, 1.0]), 3)
    for n in (6, 9):
        starts, ends = draw.array(n, scale=2), draw.array(n, scale=2)
        starts[1], ends[1] = no, no
        yield Case(f"{n} tokens", starts, ends, 3)


@exercise(
    title="The best span",
    minutes=20,
    statement=r"""
    A reader gives logits for the first and for the last token of an answer, $(T)$ each. Place 0 is
    [CLS]; −∞ marks places that are not of the context. Return the pair (start, end) with the
    largest sum of logits among those with $1 \le$ start $\le$ end and at most `longest` tokens, or
    (0, 0) if no sum is *above* that of [CLS] twice, start 0 and end 0.
    """,
    hints=[
        "Two loops are enough: for each start the ends from start to start + longest − 1.",
        "A span that begins at [CLS] and ends elsewhere, or the other way, is none.",
    ],
    cases=_span_logits,
    mistakes=[
        Mistake(
            "You took the best start and the best end by themselves; the end may come first.",
            lambda starts, ends, longest: (int(starts.argmax()), int(ends.argmax())),
        ),
        Mistake(
            "Your spans may be of any length.",
            "range(start, min(start + longest, len(ends)))",
            "range(start, len(ends))",
        ),
        Mistake(
            "Your spans are one token short of `longest`.",
            "start + longest",
            "max(start + longest - 1, start + 1)",
        ),
        Mistake(
            "You never answer “the text does not tell”.",
            "best, score = (0, 0), starts[0] + ends[0]",
            "best, score = (0, 0), -np.inf",
        ),
        Mistake(
            "A span of yours begins at [CLS].",
            "range(1, len(starts))",
            "range(len(starts))",
        ),
        Mistake(
            "You compare the starts alone with that of [CLS].",
            "starts[0] + ends[0]",
            "starts[0] + starts[0]",
        ),
    ],
)
def best_span(starts: np.ndarray, ends: np.ndarray, longest: int) -> tuple[int, int]:
    """Start and end; starts and ends: (T,)."""
    best, score = (0, 0), starts[0] + ends[0]
    for start in range(1, len(starts)):
        for end in range(start, min(start + longest, len(ends))):
            if starts[start] + ends[end] > score:
                best, score = (start, end), starts[start] + ends[end]
    return best


def _answers(draw):
    yield Case("equal", "river", "river")
    yield Case("nothing in common", "hill", "river")
    yield Case("articles and capitals", "The River", "a river")
    yield Case("punctuation", "the red lamp.", "red, lamp")
    yield Case("half of it", "lamp", "red lamp")
    yield Case("more than it", "the big red lamp", "lamp")
    yield Case("a word twice", "lamp lamp", "lamp")
    yield Case("twice in both", "lamp lamp kite", "lamp kite lamp")
    yield Case("no answer is right", "", "")
    yield Case("no answer is wrong", "", "lamp")
    yield Case("an answer where there is none", "lamp", "")
    yield Case("nothing but an article", "the", "")
    yield Case("letters that look like an article", "Theatre another", "theatre")
    yield Case("an abbreviation", "a.m.", "am")
    yield Case("a comma after an article", "an, apple", "apple")
    words = ["the", "lamp", "red", "Mei", "kite", "a", "lamp."]
    for n in (3, 6):
        said, right = ([words[i] for i in draw.integers(0, 7, n)] for _ in range(2))
        yield Case(f"{n} words", " ".join(said), " ".join(right))


@exercise(
    title="SQuAD's F1",
    minutes=20,
    statement=r"""
    Compare two answers as SQuAD does. First make both alike: small letters, then remove the
    characters of `string.punctuation`, then the words *a*, *an* and *the*, and split at white
    space. Then F1 of the words that both have in common, each counted as often as it stands in
    both. If one of the two has no words left, F1 is 1 if the other has none either, else 0.
    """,
    hints=[
        "`Counter(a) & Counter(b)` has the smaller of the two counts of each word.",
        "With n common words, F1 is 2n divided by the number of words of both together.",
    ],
    cases=_answers,
    equivalent={
        "`not ours or not theirs` → `not ours and (not theirs)`": (
            "if one is empty, nothing is in common, and the formula gives 0 as well"
        ),
    },
    mistakes=[
        Mistake(
            "You remove articles before the punctuation: “a.m.” becomes “m”, or “the,” stays.",
            """text = "".join(c for c in text.lower() if c not in string.punctuation)
        words.append([word for word in text.split() if word not in ("a", "an", "the")])""",
            """text = " ".join(w for w in text.lower().split() if w not in ("a", "an", "the"))
        words.append("".join(c for c in text if c not in string.punctuation).split())""",
        ),
        Mistake(
            "You took sets: a word that stands twice counts once.",
            "sum((Counter(ours) & Counter(theirs)).values())",
            "len(set(ours) & set(theirs))",
        ),
        Mistake(
            "Where the text does not tell, no answer is the right one: F1 is 1.",
            "return float(ours == theirs)",
            "return 0.0",
        ),
        Mistake(
            "You left the articles in.",
            'if word not in ("a", "an", "the")',
            "if word",
        ),
        Mistake("You forgot to make small letters of all.", "text.lower()", "text"),
        Mistake(
            "You removed the letters of the articles inside other words.",
            """words.append([word for word in text.split() if word not in ("a", "an", "the")])""",
            """words.append(text.replace("the", "").split())""",
        ),
    ],
)
def answer_f1(said: str, right: str) -> float:
    """F1 of two answers, from 0 to 1."""
    words = []
    for text in (said, right):
        text = "".join(c for c in text.lower() if c not in string.punctuation)
        words.append([word for word in text.split() if word not in ("a", "an", "the")])
    ours, theirs = words
    if not ours or not theirs:
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs))


# ------------------------------------------------------------------------------------------- LoRA


def _paths(draw):
    def case(label, N, n_in, n_out, r, alpha):
        W, A, B = draw.array(n_out, n_in), draw.array(r, n_in), draw.array(n_out, r)
        return Case(label, draw.array(N, n_in), W, A, B, alpha)

    yield case("rank 1", 1, 2, 2, 1, 1.0)
    yield case("a wide layer", 2, 2, 5, 1, 2.0)
    yield case("rank 2", 3, 4, 3, 2, 6.0)
    x, W = draw.array(2, 3), draw.array(2, 3)
    yield Case("before the first step", x, W, draw.array(2, 3), np.zeros((2, 2)), 16.0)
    yield case("larger", 4, 6, 5, 3, 16.0)


@exercise(
    title="LoRA, both ways",
    minutes=15,
    statement=r"""
    A frozen matrix $W$ $(out, in)$ has a path beside it: $A$ $(r, in)$ and $B$ $(out, r)$. Return
    the output for `x` $(N, in)$, $y = xW^\top + \frac{\alpha}{r}\, x A^\top B^\top$, computed
    *without* making a second matrix of the size of $W$; and the merged matrix
    $W + \frac{\alpha}{r} BA$, with which one product gives the same.
    """,
    hints=["r is the number of rows of A.", "First `x @ A.T`, which is only r numbers wide."],
    cases=_paths,
    returns=("output: N out", "merged: out in"),
    mistakes=[
        Mistake("You did not scale the path by α/r.", "alpha / len(A)", "1.0"),
        Mistake("You scaled by α and forgot to divide by the rank.", "alpha / len(A)", "alpha"),
        Mistake(
            "You divided by the number of inputs; r is the number of *rows* of A.",
            "alpha / len(A)",
            "alpha / A.shape[1]",
        ),
        Mistake("You forgot the frozen matrix in the output.", "x @ W.T + ", ""),
        Mistake(
            "Your merged matrix has the path alone.",
            "W + scale * B @ A",
            "scale * B @ A",
        ),
        Mistake(
            "You merged for the product and left the path out of the output.",
            "x @ W.T + scale * (x @ A.T) @ B.T",
            "x @ W.T",
        ),
    ],
)
def lora_two_ways(
    x: np.ndarray, W: np.ndarray, A: np.ndarray, B: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Output (N, out) and merged matrix (out, in)."""
    scale = alpha / len(A)
    return x @ W.T + scale * (x @ A.T) @ B.T, W + scale * B @ A


def _trainings(draw):
    def case(label, N, n_in, n_out, r, alpha, lr, n_steps, start=False):
        B = np.zeros((n_out, r)) if start else draw.array(n_out, r, scale=0.5)
        W, A = draw.array(n_out, n_in), draw.array(r, n_in, scale=0.5)
        return Case(label, draw.array(N, n_in), draw.array(N, n_out), W, A, B, alpha, lr, n_steps)

    yield case("no step", 2, 2, 2, 1, 1.0, 0.1, 0)
    yield case("one step from B = 0", 3, 3, 2, 1, 2.0, 0.1, 1, start=True)
    yield case("one step", 3, 2, 3, 2, 2.0, 0.1, 1)
    yield case("two steps from B = 0", 4, 3, 3, 2, 4.0, 0.05, 2, start=True)
    yield case("several steps", 5, 4, 3, 2, 6.0, 0.02, 6)


@exercise(
    title="Train LoRA with nothing but numpy",
    minutes=60,
    statement=r"""
    Train the path of a linear layer by gradient descent. The output is
    $\hat y = xW^\top + s\,xA^\top B^\top$ with $s = \alpha/r$, the loss is
    $L = \frac1N \sum_{n,o} (\hat y_{no} - y_{no})^2$: the mean over the $N$ rows of the sum over
    the outputs. Derive the gradients for $A$ and $B$ yourself. Make `n_steps` steps with the rate
    `lr`, each with the gradients of both at the *old* values. $W$ stays. Return the new $A$ and $B$
    and the loss before each step. The arrays that you get must not change.
    """,
    hints=[
        "With $G = \\frac2N (\\hat y - y)$, of shape $(N, out)$: the gradient for the whole matrix "
        "would be $G^\\top x$, $(out, in)$.",
        "By the chain rule through $s\\,BA$: $\\partial L/\\partial B = s\\,G^\\top x A^\\top$ and "
        "$\\partial L/\\partial A = s\\,B^\\top G^\\top x$.",
        "Check one number: change it by 1e-6 and look at the loss.",
    ],
    cases=_trainings,
    returns=("A: r in", "B: out r", "losses: steps"),
    mistakes=[
        Mistake(
            "You changed B before you took the gradient of A: that uses the new B.",
            "A, B = A - lr * scale * B.T @ whole, B - lr * scale * whole @ A.T",
            "B = B - lr * scale * whole @ A.T; A = A - lr * scale * B.T @ whole",
        ),
        Mistake(
            "The factor α/r is missing in your gradients; the path is scaled in the output, so "
            "its gradients are, too.",
            "A - lr * scale * B.T @ whole, B - lr * scale * whole @ A.T",
            "A - lr * B.T @ whole, B - lr * whole @ A.T",
        ),
        Mistake(
            "You trained W as well; it is frozen.",
            "A, B = A",
            "W = W - lr * whole; A, B = A",
        ),
        Mistake(
            "You stepped up the gradient.",
            "A - lr * scale * B.T @ whole, B - lr * scale * whole @ A.T",
            "A + lr * scale * B.T @ whole, B + lr * scale * whole @ A.T",
        ),
        Mistake(
            "Your losses are those *after* each step.",
            "losses.append((error**2).sum() / len(x))",
            "pass",
            "B - lr * scale * whole @ A.T",
            "B - lr * scale * whole @ A.T\n        "
            "losses.append(((x @ W.T + scale * (x @ A.T) @ B.T - y) ** 2).sum() / len(x))",
        ),
        Mistake(
            "You take the mean over rows *and* outputs.",
            "losses.append((error**2).sum() / len(x))",
            "losses.append((error**2).mean())",
            "2 * error.T @ x / len(x)",
            "2 * error.T @ x / error.size",
        ),
    ],
)
def train_lora(
    x: np.ndarray,
    y: np.ndarray,
    W: np.ndarray,
    A: np.ndarray,
    B: np.ndarray,
    alpha: float,
    lr: float,
    n_steps: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """New A (r, in), new B (out, r) and the losses (n_steps,)."""
    scale = alpha / len(A)
    losses = []
    for _ in range(n_steps):
        error = x @ W.T + scale * (x @ A.T) @ B.T - y
        losses.append((error**2).sum() / len(x))
        whole = 2 * error.T @ x / len(x)
        A, B = A - lr * scale * B.T @ whole, B - lr * scale * whole @ A.T
    return A, B, np.array(losses)


ninety_percent = question(
    "ninety_percent",
    title='"We have 87 per cent"',
    minutes=10,
    statement=r"""
    A colleague fine-tunes BERT on short messages, of which 13 % are spam. She reports an accuracy
    of 87 %. She chose the learning rate, the number of epochs and the threshold by that number, and
    the same messages come in several copies. Name at least four things that you would ask or
    change before you believe that the model has learned something.
    """,
    answer=r"""
    1. 87 % is what “everything is ham” gets: look at the confusion matrix, at precision and recall
       of spam, and beside them at a baseline (all ham; counts of words).
    2. Copies: the test may hold messages that were learned. Keep one of each before splitting.
    3. Three sets: settings and the threshold are chosen on validation messages, and the test is
       looked at once. The best of many tries on one set is partly luck.
    4. Three seeds: of the split, the head and the order. On 50 or 500 test messages the number
       itself is uncertain: of n messages by about $\sqrt{p(1-p)/n}$.
    5. Which errors cost more? A lost ham is worse than a spam that gets through: choose the
       threshold by that, and look whether the probabilities are calibrated.
    6. Was the model in evaluation mode? Is the vector that of a real token, and not of padding?
    """,
)
