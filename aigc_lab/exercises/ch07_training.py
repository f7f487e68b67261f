"""Exercises of chapter 07, training a language model."""

import math

import numpy as np
import torch

from aigc_lab.exercises.declaring import Case, Mistake, exercise, question

# ---------------------------------------------------------------------------------- starting loss

loss_before_training = question(
    "loss_before_training",
    title="The loss before the first step",
    minutes=5,
    has_one_answer=True,
    statement=r"""
    A new model has a vocabulary of 50,257 tokens. Its first loss is 37.2. What should it be, about,
    and what does 37.2 tell you? What would a first loss of 0.9 tell you?
    """,
    answer=r"""
    Small random weights give logits near 0, so every token gets about the same probability and the
    loss is $\log 50257 \approx 10.8$. A loss of 37.2 is much *worse* than guessing: the model is
    sure of something and wrong, so its logits are large. Look at the initialisation (a tied table
    with standard deviation 1, say). A loss of 0.9 before any training means that the answer is
    visible, most likely that the targets are not shifted: with a tied table, a new model already
    gives the token that it reads the largest logit. (A missing causal mask hardly shows before
    training, but soon after.)
    """,
)

# ----------------------------------------------------------------------------------- cross-entropy


def _logits_and_targets(draw):
    yield Case("one place", draw.tensor(1, 1, 3), torch.tensor([[2]]))
    targets = torch.tensor([[0, 4, -100], [-100, -100, 1]])
    yield Case("places without a target", draw.tensor(2, 3, 5, scale=2), targets)
    yield Case("a row without any", draw.tensor(2, 2, 4), torch.tensor([[1, 3], [-100, -100]]))
    apart = torch.tensor([[[0.0, 200.0, -200.0], [3.0, 0.0, 1.0]]])
    yield Case("a model that is sure and wrong", apart, torch.tensor([[2, 0]]))
    size = draw.integer(3, 7)
    targets = torch.tensor([draw.integers(0, size, 4), draw.integers(0, size, 4)])
    yield Case("a batch", draw.tensor(2, 4, size), targets)


@exercise(
    title="Cross-entropy that knows what to leave out",
    minutes=20,
    statement=r"""
    `logits` has shape $(B, T, V)$ and `targets` $(B, T)$. Where the target is −100 nothing is to be
    predicted. Return the mean of $-\log p(\text{target})$ over all the other places of the batch
    together, where $p$ is the softmax of the logits. At least one place has a target. Stay in
    torch: the gradient is checked, too. (Do without `F.cross_entropy` and `nn.CrossEntropyLoss`.)
    """,
    hints=[
        r"$-\log p_j = \log \sum_k e^{s_k} - s_j$, and `logits.logsumexp(-1)` is the first term, "
        "safe for any size.",
        "`logits[targets != -100]` is $(n, V)$: only the places that count.",
        "`gather(1, wanted[:, None])` picks one number from each row.",
    ],
    cases=_logits_and_targets,
    returns="",
    gradients="logits",
    equivalent={
        "`logits.logsumexp(-1)` → `logits.logsumexp(1)`": "the axis, from the other end",
        "`logits.gather(1, wanted[:, None])[:, 0]` → `logits.gather(1, wanted[:, None])[:, -1]`": (
            "there is one column"
        ),
    },
    mistakes=[
        Mistake(
            "You average each row first and then the rows: a row with few targets counts as much "
            "as one with many.",
            lambda logits, targets: torch.stack(
                [
                    _losses(s[t != -100], t[t != -100]).mean()
                    for s, t in zip(logits, targets, strict=True)
                    if (t != -100).any()
                ]
            ).mean(),
        ),
        Mistake(
            "You divide by all places; those without a target must not count in the mean either.",
            "losses.mean()",
            "losses.sum() / targets.numel()",
        ),
        Mistake(
            "You return the sum; it would grow with the batch.", "losses.mean()", "losses.sum()"
        ),
        Mistake(
            "You take the places without a target for places with the target 0.",
            "    is_target = targets != -100\n",
            "    targets = targets.clamp(min=0)\n    is_target = targets != -100\n",
        ),
        Mistake(
            "You take the softmax first and its logarithm after: for a model that is sure and "
            "wrong, the probability is 0 and the loss infinite.",
            "logits.logsumexp(-1) - logits.gather(1, wanted[:, None])[:, 0]",
            "-logits.softmax(-1).gather(1, wanted[:, None])[:, 0].log()",
        ),
        Mistake(
            "You add a small number before the logarithm: it hides how wrong the model is, and "
            "there the gradient vanishes.",
            "logits.logsumexp(-1) - logits.gather(1, wanted[:, None])[:, 0]",
            "-(logits.softmax(-1).gather(1, wanted[:, None])[:, 0] + 1e-9).log()",
        ),
        Mistake(
            "You shift the targets once more; they are given as what follows already.",
            lambda logits, targets: masked_cross_entropy.solution(
                logits, torch.cat([targets[:, 1:], targets[:, :1]], 1)
            ),
        ),
        Mistake(
            "You measure in bits: the logarithm is the natural one.",
            "losses.mean()",
            "losses.mean() / math.log(2)",
        ),
    ],
)
def masked_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean loss in nats over the places with a target: a tensor of shape ().

    logits: (B, T, V), targets: (B, T), -100 where there is nothing to predict.
    """
    is_target = targets != -100
    logits, wanted = logits[is_target], targets[is_target]  # (n, V), (n,)
    losses = logits.logsumexp(-1) - logits.gather(1, wanted[:, None])[:, 0]  # (n,)
    return losses.mean()


def _losses(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return logits.logsumexp(-1) - logits.gather(1, wanted[:, None])[:, 0]


# ------------------------------------------------------------------------------------------- AdamW


def _adamw_states(draw):
    zeros = np.zeros(3)
    yield Case("one number, first step", np.ones(1), draw.array(1), np.zeros(1), np.zeros(1), 1)
    yield Case("first step", draw.array(3), draw.array(3), zeros, zeros, 1)
    p, g, mean = draw.array(2, 3), draw.array(2, 3), draw.array(2, 3, scale=0.3)
    yield Case("a later step", p, g, mean, draw.array(2, 3) ** 2, draw.integer(2, 30))
    tiny = draw.array(3, scale=1e-5)
    yield Case("tiny gradients", draw.array(3), tiny, zeros, 1e-12 * np.ones(3), 400, eps=1e-6)
    yield Case("no gradient for now", draw.array(2), np.zeros(2), np.ones(2), np.ones(2), 7)
    yield Case("no decay", draw.array(3), draw.array(3), zeros, zeros, 1, decay=0.0)


@exercise(
    title="A step of AdamW",
    minutes=30,
    statement=r"""
    Do one step, number $t$ (counted from 1), for a parameter $p$ with gradient $g$:

    $$
    m \leftarrow \beta_1 m + (1-\beta_1)\, g, \qquad v \leftarrow \beta_2 v + (1-\beta_2)\, g^2,
    $$

    $$
    p \leftarrow p\,(1 - \eta\lambda) \;-\; \eta\,
    \frac{m / (1-\beta_1^t)}{\sqrt{v / (1-\beta_2^t)} + \epsilon},
    $$

    where $\eta$ is `lr` and $\lambda$ is `decay`. Everything is float64 and of one shape. Return
    the new $p$, $m$ and $v$; change none of the arguments.
    """,
    hints=[
        "The two divisions by $1 - \\beta^t$ correct averages that began at 0. Keep the "
        "*uncorrected* averages for the next step.",
        r"$\epsilon$ is added to the root, not under it, and after the correction.",
    ],
    cases=_adamw_states,
    returns=("p: n", "m: n", "v: n"),
    mistakes=[
        Mistake(
            "You left out the correction of the averages, which start at 0: the first steps are "
            "far too long, since the root of v starts smaller still.",
            "mean / (1 - beta1**t)",
            "mean",
            "square / (1 - beta2**t)",
            "square",
        ),
        Mistake("You correct the mean but not the square.", "square / (1 - beta2**t)", "square"),
        Mistake(
            "You add the decay to the gradient, as in plain Adam: then it is divided by the root "
            "as well, and weights with large gradients hardly decay. That is what the W is about.",
            "    mean = beta1",
            "    gradient = gradient + decay * p\n    mean = beta1",
            " * (1 - lr * decay)",
            "",
        ),
        Mistake(
            "You forgot the learning rate in the decay: each step takes away the share `decay`.",
            "(1 - lr * decay)",
            "(1 - decay)",
        ),
        Mistake("You left out the decay.", " * (1 - lr * decay)", ""),
        Mistake(
            r"Your ε is under the root: for tiny gradients that is another number.",
            "np.sqrt(square / (1 - beta2**t)) + eps",
            "np.sqrt(square / (1 - beta2**t) + eps)",
        ),
        Mistake(
            "You count the steps from 0: the first correction then divides by the second step's "
            "number.",
            "    mean = beta1",
            "    t = t + 1\n    mean = beta1",
        ),
        Mistake(
            "You return the corrected averages: the next step would correct them again.",
            "return new, mean, square",
            "return new, mean / (1 - beta1**t), square / (1 - beta2**t)",
        ),
        Mistake(
            "You mixed up the two betas.",
            "beta1, beta2 = betas",
            "beta2, beta1 = betas",
        ),
        Mistake("You move up the gradient.", " - lr * step", " + lr * step"),
    ],
)
def adamw_step(
    p: np.ndarray,
    gradient: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    t: int,
    *,
    lr: float = 0.1,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
    decay: float = 0.1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """New p, m and v after step t = 1, 2, ..., each of the shape of p."""
    beta1, beta2 = betas
    mean = beta1 * mean + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient**2
    step = mean / (1 - beta1**t) / (np.sqrt(square / (1 - beta2**t)) + eps)
    new = p * (1 - lr * decay) - lr * step
    return new, mean, square


# ---------------------------------------------------------------------------------------- clipping


def _gradients(draw):
    yield Case("one number", [np.array([-3.0])], 1.0)
    yield Case("short enough", [0.1 * draw.array(2), 0.1 * draw.array(2, 2)], 5.0)
    yield Case("all zero", [np.zeros(2), np.zeros((1, 2))], 1.0)
    yield Case("too long", [draw.array(3), draw.array(2, 4, scale=5)], 0.5)
    yield Case("one small, one huge", [0.2 * np.ones(2), 100 * draw.array(3, 2)], 1.0)


@exercise(
    title="Clipping all gradients together",
    minutes=10,
    statement=r"""
    `gradients` holds one float64 array for each parameter, of any shapes. Take all their numbers as
    one long vector. If its norm is above `largest`, scale it down to `largest`; if not, leave it as
    it is. Return the list of new arrays. No gradient is NaN, but all may be 0.
    """,
    hints=[
        "The square of the long vector's norm is the sum of the squares of all numbers.",
        "The factor is the same for all arrays: its direction must not change.",
    ],
    cases=_gradients,
    equivalent={
        "`norm > largest` → `norm >= largest`": "at the border the factor is 1",
    },
    mistakes=[
        Mistake(
            "You clip each array by its own norm: that changes the direction of the step.",
            lambda gradients, largest: [
                g * min(1, largest / max(np.linalg.norm(g), 1e-300)) for g in gradients
            ],
        ),
        Mistake(
            "You clip each number: that changes the direction of the step.",
            lambda gradients, largest: [np.clip(g, -largest, largest) for g in gradients],
        ),
        Mistake(
            "You scale up what is short enough, too: a small gradient is a message.",
            "if norm > largest",
            "if norm > 0",
        ),
        Mistake("You forgot the square root.", "math.sqrt(", "("),
        Mistake(
            "You take the norm of the arrays' mean squares: large arrays then count too little.",
            "(g**2).sum()",
            "(g**2).mean()",
        ),
        Mistake(
            "You multiply by `largest` without dividing by the norm.",
            "largest / norm",
            "largest",
        ),
        Mistake(
            "You add a small number to the norm, as torch does: the result is then a little "
            "shorter than `largest`.",
            "largest / norm",
            "largest / (norm + 1e-6)",
        ),
    ],
)
def clip_by_norm(gradients: list[np.ndarray], largest: float) -> list[np.ndarray]:
    """The gradients, times one factor: their norm is at most `largest`."""
    norm = math.sqrt(sum((g**2).sum() for g in gradients))
    factor = largest / norm if norm > largest else 1.0
    return [g * factor for g in gradients]


# ---------------------------------------------------------------------------------------- schedule


def _schedules(draw):
    yield Case("the first step", 0, 10, 4, 3)
    yield Case("the last step of the warm-up", 3, 10, 4, 3)
    yield Case("the step after the warm-up", 4, 10, 4, 3)
    yield Case("no warm-up", 0, 10, 0, 3)
    yield Case("no decay, last step", 9, 10, 4, 0)
    yield Case("the first step that falls", 8, 10, 4, 3)
    yield Case("the last step", 9, 10, 4, 3)
    n_steps = draw.integer(50, 90)
    yield Case("in the middle", draw.integer(20, 30), n_steps, 10, 10)
    yield Case("while it rises", draw.integer(1, 9), n_steps, 10, 10)
    yield Case("while it falls", n_steps - draw.integer(2, 9), n_steps, 10, 10)


@exercise(
    title="Warm up, stay, decay",
    minutes=10,
    statement=r"""
    A cosine must know from the start when training will end. This schedule need not: the factor of
    the learning rate rises in equal parts over the first `n_warmup` steps, so that the *last* of
    them has 1; it stays 1; and it falls in equal parts over the last `n_decay` steps, the *last* of
    which has 1/`n_decay`. Return the factor of a step, 0 ≤ `step` < `n_steps`. The two parts do not
    overlap, and either may have no step at all.
    """,
    hints=[
        "The first step of a warm-up of 4 has 1/4: a rate of 0 would waste it.",
        "How many steps are left, this one included?",
    ],
    cases=_schedules,
    equivalent={
        "`left < n_decay` → `left <= n_decay`": "where they are equal the factor is 1 either way",
    },
    mistakes=[
        Mistake(
            "Your first step has the rate 0 and is wasted.",
            "(step + 1) / n_warmup",
            "step / n_warmup",
        ),
        Mistake(
            "Your last step has the rate 0 and is wasted.",
            "left = n_steps - step",
            "left = n_steps - step - 1",
        ),
        Mistake("You left out the decay.", "left / n_decay", "1.0"),
        Mistake("You left out the warm-up.", "(step + 1) / n_warmup", "1.0"),
        Mistake(
            "You let it fall from the end of the warm-up on; it stays at 1 until the last "
            "`n_decay` steps.",
            "if left < n_decay",
            "if True",
            "left / n_decay",
            "left / (n_steps - n_warmup)",
        ),
    ],
)
def stable_then_decay(step: int, n_steps: int, n_warmup: int, n_decay: int) -> float:
    """Factor of the learning rate, above 0 and at most 1."""
    if step < n_warmup:
        return (step + 1) / n_warmup
    left = n_steps - step
    if left < n_decay:
        return left / n_decay
    return 1.0


# ------------------------------------------------------------------------------------ accumulation


def _parts_of_a_batch(draw):
    yield Case("one part", [draw.array(2)], [5])
    yield Case("equal parts", [draw.array(3), draw.array(3)], [4, 4])
    yield Case("unequal parts", [draw.array(2, 2) for _ in range(3)], [1, 20, 300])
    nothing = np.full(2, np.nan)
    yield Case("a part without targets", [draw.array(2), nothing, draw.array(2)], [3, 0, 9])
    n_targets = [1 + n for n in draw.integers(0, 50, 4)]
    yield Case("four parts", [draw.array(3) for _ in range(4)], n_targets)


@exercise(
    title="A large batch in small parts",
    minutes=15,
    statement=r"""
    A batch that does not fit into memory was computed in parts. For each part you have the gradient
    of the *mean* loss over its targets (all gradients have one shape, float64), and its number of
    targets. Return the gradient of the mean loss over the targets of the whole batch. A part may
    have no target; its gradient is then 0/0 = NaN. At least one part has some.
    """,
    hints=[
        "The gradient of a part's *summed* loss is the gradient of its mean, times its number of "
        "targets. Sums can be added.",
        "NaN times 0 is NaN: leave that part out.",
    ],
    cases=_parts_of_a_batch,
    returns="n",
    equivalent={
        "`gradients[0]` → `gradients[-1]`": "all have one shape",
        "`zip(gradients, n_targets, strict=True)` → `zip(gradients, n_targets, strict=False)`": (
            "the lists are equally long"
        ),
    },
    mistakes=[
        Mistake(
            "You take the mean of the means: a target in a part with few of them counts too much.",
            lambda gradients, n_targets: np.mean(
                [g for g, n in zip(gradients, n_targets, strict=True) if n], axis=0
            ),
        ),
        Mistake(
            "You only add the parts' gradients: the step grows with the number of parts.",
            lambda gradients, n_targets: np.sum(
                [g for g, n in zip(gradients, n_targets, strict=True) if n], axis=0
            ),
        ),
        Mistake("You did not divide by the number of all targets.", " / sum(n_targets)", ""),
        Mistake(
            "You divide by the number of parts; the weights are numbers of targets.",
            "sum(n_targets)",
            "len(n_targets)",
        ),
        Mistake(
            "A part without targets makes everything NaN: 0 · NaN is NaN.", "if n > 0", "if True"
        ),
    ],
)
def accumulated_gradient(gradients: list[np.ndarray], n_targets: list[int]) -> np.ndarray:
    """Gradient of the mean loss over all targets, shaped like each part's."""
    total = np.zeros(gradients[0].shape)
    for gradient, n in zip(gradients, n_targets, strict=True):
        if n > 0:
            total = total + n * gradient
    return total / sum(n_targets)


# ------------------------------------------------------------------------------------------ packing


def _documents(draw):
    def ids(n):
        return [5 + i for i in draw.integers(0, 90, n)]

    yield Case("one document", [ids(2)], 1, 5)
    yield Case("a document as long as a row", [ids(3)], 1, 4)
    yield Case("an empty document", [[], ids(1)], 1, 4)
    yield Case("one row for two", [ids(2), ids(3)], 0, 9)
    yield Case("two rows", [ids(3), ids(4)], 1, 6)
    yield Case("a gap that is filled later", [ids(4), ids(5), ids(2)], 2, 8)
    yield Case("it just fits", [ids(2), ids(4), ids(1)], 0, 8)
    yield Case("many", [ids(draw.integer(1, 7)) for _ in range(8)], 3, 12)


@exercise(
    title="Packing documents into rows",
    minutes=60,
    statement=r"""
    Pack whole documents into rows of `length` places, as `PackedDocuments` does, but in the order
    in which they come: each goes into the *first* row that has room for it, behind what is there,
    or else begins a new row. A document of $n$ ids takes $n+1$ places. The model reads `start` and
    the ids; the targets are the ids and then `start` again, which here means "the end". What is
    left of a row is filled with `start` and has no targets (−100).

    Return three int64 arrays of shape (rows, `length`): the tokens, the targets, and the number
    within its row (0, 1, ...) of the document to which each token belongs. The filler is a document
    of its own. Every document fits into a row, and there is at least one.
    """,
    hints=[
        "First decide which documents go into which row; a list of lists of documents will do. "
        "`for ... else` says what to do if no row had room.",
        "Then make three full arrays, `np.full((n_rows, length), ...)`, and write each document "
        "into its places: `tokens[row, begin:end] = [start, *ids]`.",
        "The filler's number is the number of documents in the row.",
    ],
    cases=_documents,
    returns=("tokens: row place", "targets: row place", "numbers: row place"),
    equivalent={"`numbers[r, begin:end]` → `numbers[r, begin:]`": "what follows is written later"},
    mistakes=[
        Mistake(
            "You look for room in the last row only: gaps in earlier rows stay empty.",
            "for row in rows:",
            "for row in rows[-1:]:",
        ),
        Mistake(
            "You leave one place free: a document that just fits is sent on.",
            "<= length",
            "< length",
        ),
        Mistake(
            "Your documents do not end: without the last target the model never learns to stop.",
            "[*ids, start]",
            "[*ids, -100]",
        ),
        Mistake(
            "Your filler has targets: the model is taught that after the end comes the end, again "
            "and again.",
            "np.full((len(rows), length), -100)",
            "np.full((len(rows), length), start)",
        ),
        Mistake(
            "Your filler belongs to the last document. It needs a number of its own.",
            "numbers[r, end:] = len(row)",
            "numbers[r, end:] = len(row) - 1",
        ),
        Mistake(
            "All documents of a row have one number: each would see those before it.",
            "numbers[r, begin:end] = k",
            "numbers[r, begin:end] = 0",
        ),
        Mistake(
            "You number the documents through all rows; count anew in each.",
            "numbers[r, begin:end] = k",
            "numbers[r, begin:end] = k + sum(map(len, rows[:r]))",
            "numbers[r, end:] = len(row)",
            "numbers[r, end:] = sum(map(len, rows[: r + 1]))",
        ),
        Mistake(
            "Your targets are the tokens that are read at the same place: shift them by one.",
            "[*ids, start]",
            "[start, *ids]",
        ),
        Mistake(
            "You begin a new row for every document.",
            "used + len(ids) + 1 <= length",
            "False",
        ),
    ],
)
def pack_rows(
    documents: list[list[int]], start: int, length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, targets, numbers of the documents, each (rows, length) int64."""
    rows: list[list[list[int]]] = []
    for ids in documents:
        for row in rows:
            used = sum(len(one) + 1 for one in row)
            if used + len(ids) + 1 <= length:
                row.append(ids)
                break
        else:
            rows.append([ids])
    tokens = np.full((len(rows), length), start)
    targets = np.full((len(rows), length), -100)
    numbers = np.empty((len(rows), length), dtype=np.int64)
    for r, row in enumerate(rows):
        end = 0
        for k, ids in enumerate(row):
            begin, end = end, end + len(ids) + 1
            tokens[r, begin:end] = [start, *ids]
            targets[r, begin:end] = [*ids, start]
            numbers[r, begin:end] = k
        numbers[r, end:] = len(row)
    return tokens, targets, numbers


# ------------------------------------------------------------------------------------------ MinHash


def _hashed_sets(draw):
    def hashes(n_hashes, n):
        return draw.rng.permuted(np.tile(np.arange(n), (n_hashes, 1)), axis=1)

    yield Case("one hash, one item each", [0], [1], hashes(1, 2))
    yield Case("the same set", [3, 1], [1, 3], hashes(4, 5))
    yield Case("nothing in common", [0, 1, 2], [3, 4], hashes(8, 5))
    first = draw.integer(1, 5)
    yield Case("half in common", list(range(6)), list(range(first, 6 + first)), hashes(40, 12))
    yield Case("one within the other", list(range(9)), [2, 5, 7], hashes(30, 9))


@exercise(
    title="How alike are two texts?",
    minutes=15,
    statement=r"""
    Two texts are given as lists `a` and `b` of shingle numbers, none twice in a list and none
    empty. `hashes[k, i]` is the hash of shingle `i` under hash function `k`, one of $K$. Return
    MinHash's estimate of their Jaccard similarity: the share of the hash functions under which the
    smallest hash of `a` equals that of `b`. Do not compute the similarity itself.
    """,
    hints=[
        "`hashes[:, a]` has the hashes of the items of `a`, shape $(K, |a|)$.",
        "Take the minimum of each row, for both; compare; take the mean.",
    ],
    cases=_hashed_sets,
    mistakes=[
        Mistake(
            "That is the Jaccard similarity itself. For a billion pairs of texts you could not "
            "afford it.",
            lambda a, b, hashes: float(len(set(a) & set(b)) / len(set(a) | set(b))),
        ),
        Mistake(
            "You compare the two sets of minima as sets: a minimum must be met under the *same* "
            "hash function.",
            "(smallest_a == smallest_b).mean()",
            "np.isin(smallest_a, smallest_b).mean()",
        ),
        Mistake(
            "You count the hash functions that agree; divide by how many there are.",
            ".mean()",
            ".sum()",
        ),
        Mistake(
            "You took the share of hash functions that disagree.",
            "smallest_a == smallest_b",
            "smallest_a != smallest_b",
        ),
        Mistake(
            "You take the largest hash. That would do as well, but the book's is the smallest.",
            "hashes[:, a].min(axis=1)",
            "hashes[:, a].max(axis=1)",
            "hashes[:, b].min(axis=1)",
            "hashes[:, b].max(axis=1)",
        ),
    ],
)
def estimated_similarity(a: list[int], b: list[int], hashes: np.ndarray) -> float:
    """MinHash's estimate, 0 to 1; hashes: (K, number of shingles)."""
    smallest_a = hashes[:, a].min(axis=1)  # (K,)
    smallest_b = hashes[:, b].min(axis=1)
    return float((smallest_a == smallest_b).mean())


# -------------------------------------------------------------------------------------------- Muon


def _matrices(draw):
    yield Case("one number", torch.tensor([[-3.0]]), 1)
    yield Case("one step", draw.tensor(3, 3), 1)
    yield Case("two steps, wide", draw.tensor(2, 4), 2)
    yield Case("two steps, tall", draw.tensor(5, 2), 2)
    yield Case("five steps of a large matrix", draw.tensor(4, 6, scale=100), 5)
    yield Case("five steps of a small matrix", draw.tensor(6, 4, scale=1e-3), 5)


@exercise(
    title="What Muon does to a gradient",
    minutes=25,
    statement=r"""
    Divide the matrix $G$, which is not 0, by the root of the sum of the squares of its numbers
    (then no singular value is above 1). Then do `n_steps` times

    $$ X \leftarrow a X + b\,(XX^\top) X + c\,(XX^\top)^2 X $$

    with $a = 3.4445$, $b = -4.7750$, $c = 2.0315$. If $X = USV^\top$, this changes each singular
    value $s$ to $as + bs^3 + cs^5$ and leaves $U$ and $V$ alone. Stay in torch.
    """,
    hints=[
        "`matrix.norm()` is the root of the sum of squares.",
        "Let `square = x @ x.T`. The powers in the formula are powers of a matrix: "
        "$(XX^\\top)^2$ is `square @ square`.",
    ],
    cases=_matrices,
    returns="row column",
    pipeline="""
    from aigc_lab.exercises.pipelines import compare_curves
    from aigc_lab.models.gpt import GPT, GPTConfig
    from aigc_lab.training.optimizers import make_optimizers

    def losses_with_muon(n_steps=40):
        torch.manual_seed(0)
        model = GPT(GPTConfig(16, context_length=16, d_model=32, n_layers=1, n_heads=2))
        text = torch.randint(16, (8, 17))  # to be learned by heart
        losses = []
        for step in range(n_steps):
            for_each = model(text[:, :-1]).transpose(1, 2)
            loss = torch.nn.functional.cross_entropy(for_each, text[:, 1:])
            model.zero_grad()
            loss.backward()
            if step == 0:
                optimizers = make_optimizers(model, 1e-2, muon=True)
            for optimizer in optimizers:
                optimizer.step()
            losses.append(loss.item())
        return losses

    book = losses_with_muon()
    with swap("aigc_lab.training.optimizers.orthogonal", orthogonalise) as swapped:
        yours = losses_with_muon()

    print(f"your function ran {swapped.calls} times: for 7 matrices, at each of 40 steps")
    assert swapped.calls == 280
    assert compare_curves(book, yours) < 1e-2, "the curves should lie on each other"
    """,
    mistakes=[
        Mistake(
            "You take powers of the numbers, not of the matrix: s³ and s⁵ of the singular values "
            "need products of matrices.",
            "a * x + (b * square + c * square @ square) @ x",
            "a * x + b * x**3 + c * x**5",
        ),
        Mistake(
            "You did not divide by the norm: for singular values above about 1.3 the polynomial "
            "explodes, and small ones stay small.",
            "matrix / matrix.norm()",
            "matrix",
        ),
        Mistake(
            "You divide by the largest number; the largest singular value can be larger.",
            "matrix.norm()",
            "matrix.abs().max()",
        ),
        Mistake(
            "You left out the fifth power.", "(b * square + c * square @ square)", "(b * square)"
        ),
        Mistake(
            "You square the entries of XXᵀ; its matrix square is `square @ square`.",
            "square @ square)",
            "square * square)",
        ),
        Mistake(
            "You divide by the norm at every step: the singular values are pushed down again.",
            "        square = x @ x.T\n",
            "        x = x / x.norm()\n        square = x @ x.T\n",
        ),
        Mistake(
            "You compute XXᵀ once, before the loop; it changes with X.",
            "    for _ in range(n_steps):\n        square = x @ x.T\n",
            "    square = x @ x.T\n    for _ in range(n_steps):\n",
        ),
        Mistake(
            "You do one step too few.",
            "range(n_steps)",
            "range(n_steps - 1)",
        ),
    ],
)
def orthogonalise(matrix: torch.Tensor, n_steps: int = 5) -> torch.Tensor:
    """(n, m) to (n, m): the singular values go towards 1."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / matrix.norm()
    for _ in range(n_steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x


# ---------------------------------------------------------------------------------------- in words

ten_times_the_compute = question(
    "ten_times_the_compute",
    title="Ten times the compute",
    minutes=15,
    statement=r"""
    You have trained a model with $N$ parameters on $D$ tokens and may now spend ten times the
    compute on another. What do you do with it? Which measurements do you want to make before you
    spend it, and what could make the plan that they give you wrong?
    """,
    answer=r"""
    With $L - L_\infty = A/N^\alpha + B/D^\beta$ and a cost of $6ND$, the best size grows like
    compute to the power $\beta/(\alpha+\beta)$: about its square root if the two exponents are
    alike, so 3.2 times the parameters and 3.2 times the tokens. To know the exponents one trains a
    grid of small models, each with a schedule of its own, and fits. What can spoil it: (1) the
    exponents have errors, and ten times outside the grid they multiply; (2) the learning rate that
    was right for the small models is wrong for the large one; (3) there are not ten times as many
    *different* tokens, and repeated ones are worth less; (4) the model will be used: a smaller one
    that is trained longer than "optimal" costs less for each answer, which is why the models that
    people run are trained on far more tokens than this rule says; (5) an ability that comes at once
    does not follow a power law.
    """,
)
