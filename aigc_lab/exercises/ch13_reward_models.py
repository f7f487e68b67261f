"""Exercises of chapter 13, reward models from human feedback."""

import numpy as np
import torch
import torch.nn.functional as F

from aigc_lab.exercises.declaring import Case, Mistake, exercise, question

# --------------------------------------------------------------------------- who is preferred


def _two_scores(draw):
    yield Case("equal scores", 2, 2)
    yield Case("the first is better", 2, 1)
    yield Case("one score is negative", -1.0, 0.5)
    yield Case("both are negative", -3.0, -1.0)
    yield Case("far apart", 0, 1000)
    yield Case("far apart, the other way", 1000, 0)
    yield Case("random scores", draw.integer(1, 7), draw.integer(1, 7))


@exercise(
    title="Who is preferred?",
    minutes=5,
    statement=r"""
    A reply has the score `a`, another the score `b`; scores are logarithms of strengths. With what
    probability does a reader after Bradley and Terry prefer the first? It should work for scores
    that are a thousand apart, without a warning.
    """,
    hints=[
        "Only the difference of the scores matters: adding 5 to both changes nothing.",
        "`np.exp(1000)` overflows. `np.logaddexp(0, x)` is log(1 + eˣ) for every x.",
    ],
    cases=_two_scores,
    mistakes=[
        Mistake(
            "You took the probability that the *second* is preferred: the sign is turned round.",
            "b - a",
            "a - b",
        ),
        Mistake(
            "You put the quotient of the scores into σ; it is their difference.",
            lambda a, b: 1 / (1 + np.exp(-a / b)),
        ),
        Mistake(
            "That is a / (a + b), the formula for strengths. These are their logarithms.",
            lambda a, b: a / (a + b),
        ),
        Mistake(
            "Your `exp` overflows where scores are far apart.",
            lambda a, b: float(np.exp(np.float64(a)) / (np.exp(np.float64(a)) + np.exp(b))),
        ),
        Mistake(
            "That is the logarithm of the probability.", "np.exp(-np.logaddexp", "(-np.logaddexp"
        ),
    ],
)
def chance_of_first(a: float, b: float) -> float:
    """Probability that the reply with score a is preferred."""
    return float(np.exp(-np.logaddexp(0, b - a)))


# ------------------------------------------------------------------------------ the pairwise loss


def _scores_of_pairs(draw):
    yield Case("equal scores", torch.zeros(2), torch.zeros(2), torch.zeros(2))
    yield Case("right and wrong order", torch.tensor([2.0, -1.0]), torch.zeros(2), torch.zeros(2))
    yield Case("a margin", torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([1.0]))
    yield Case("very wrong", torch.tensor([-200.0]), torch.tensor([0.0]), torch.tensor([0.5]))
    yield Case("very right", torch.tensor([300.0]), torch.tensor([0.0]), torch.tensor([0.5]))
    yield Case("many", draw.tensor(6), draw.tensor(6), draw.tensor(6).abs())


@exercise(
    title="The loss of a comparison",
    minutes=15,
    statement=r"""
    Give for each of $B$ pairs $-\log\sigma(r^+ - r^- - m)$, with the scores of the chosen and the
    rejected replies and the margins, all of shape $(B)$. Stay in torch, so that gradients pass
    through; they are compared, too, also where a score is wrong by 200.
    """,
    hints=[
        "torch has `logsigmoid`, and `softplus(x)` = log(1 + eˣ).",
        "A margin makes the loss larger: the chosen reply must be better by so much.",
    ],
    cases=_scores_of_pairs,
    returns="B",
    gradients="chosen rejected",
    pipeline="""
    from aigc_lab.alignment.labellers import Labeller, chances, label, sample_pairs, share_foreseen
    from aigc_lab.alignment.reward import RewardSettings, score_differences, train_reward_model
    from aigc_lab.data.tiny_world import WorldSettings
    from aigc_lab.data.tiny_world.taste import story_prompts
    from aigc_lab.models.shipped import load_shipped

    chat, tokenizer = load_shipped("chat")
    pairs = sample_pairs(chat, tokenizer, story_prompts(WorldSettings(seed=40), 96), seed=40)
    votes = label(pairs, Labeller())
    losses = []
    with swap("aigc_lab.alignment.reward.pairwise_loss", comparison_loss) as swapped:
        model = train_reward_model(
            chat,
            tokenizer,
            votes,
            RewardSettings(n_epochs=5, batch_size=16),
            on_step=lambda step, loss: losses.append(loss),
        )
    seen = share_foreseen(score_differences(model, tokenizer, pairs), chances(pairs, Labeller()))
    print(f"your loss ran {swapped.calls} times")
    first, last = np.mean(losses[:3]), np.mean(losses[-3:])
    print(f"loss {first:.2f} → {last:.2f} nats; ln 2 = {np.log(2):.2f}")
    print(f"the reward model foresees {seen:.0%} of the votes it learned from")
    assert swapped.calls == len(losses) and last < first
    """,
    mistakes=[
        Mistake(
            "The sign: your loss is small where the *rejected* reply scores more.",
            "chosen - rejected",
            "rejected - chosen",
        ),
        Mistake(
            "The margin has the wrong sign: with yours the chosen reply may even be worse.",
            "- margins",
            "+ margins",
        ),
        Mistake(
            "log(σ(x)) is −∞ for very negative x, and its gradient NaN; use `logsigmoid`.",
            "F.logsigmoid(chosen - rejected - margins)",
            "torch.sigmoid(chosen - rejected - margins).log()",
        ),
        Mistake(
            "You gave log σ, which is negative; a loss is −log σ.",
            "-F.logsigmoid",
            "F.logsigmoid",
        ),
        Mistake(
            "You took a mean over the pairs; one number for each is wanted.",
            "margins)",
            "margins).mean()",
        ),
        Mistake(
            "You subtracted the margin from the loss, not from the difference of the scores.",
            "rejected - margins)",
            "rejected) - margins",
        ),
    ],
)
def comparison_loss(
    chosen: torch.Tensor, rejected: torch.Tensor, margins: torch.Tensor
) -> torch.Tensor:
    """Loss in nats of each pair, (B,)."""
    return -F.logsigmoid(chosen - rejected - margins)


# -------------------------------------------------------------------------- the last real token


def _scores_and_masks(draw):
    def case(label, *rows):
        mask = torch.tensor(rows) == 1
        return Case(label, draw.tensor(*mask.shape), mask)

    yield case("no padding", [1, 1, 1])
    yield case("padding on the right", [1, 1, 0], [1, 1, 1])
    yield case("padding on the left", [0, 1, 1], [1, 1, 1])
    yield case("on both sides", [0, 1, 1, 0, 0], [0, 0, 1, 0, 0])
    yield case("one real token, the first", [1, 0, 0, 0])
    yield case("many", *[[0] * n + [1] * (8 - 2 * n) + [0] * n for n in range(4)])


@exercise(
    title="Where the reward is read",
    minutes=15,
    statement=r"""
    The head of a reward model has given a score to every token, `scores` of shape $(B, T)$. Give
    for each row the score at its last real token. `mask`, boolean of shape $(B, T)$, is False for
    padding, which may stand on the left, on the right, or on both sides.
    """,
    hints=[
        "The number of real tokens tells where the last one stands only if all padding is on the "
        "right.",
        "Places times mask is largest at the last real token: `(places * mask).argmax(1)`.",
    ],
    cases=_scores_and_masks,
    returns="B",
    pipeline="""
    from aigc_lab.alignment.reward import new_reward_model
    from aigc_lab.models.shipped import load_shipped

    chat, tokenizer = load_shipped("chat")
    model = new_reward_model(chat).eval()
    rows = [tokenizer.encode(text) for text in ("Mei ran.", "One morning Omar was by the river.")]
    width = max(map(len, rows))
    by_side = {}
    for side in ("left", "right"):
        tokens = torch.zeros(2, width, dtype=torch.long)
        mask = torch.zeros(2, width, dtype=torch.bool)
        for row, ids in enumerate(rows):
            first = width - len(ids) if side == "left" else 0
            tokens[row, first : first + len(ids)] = torch.tensor(ids)
            mask[row, first : first + len(ids)] = True
        with torch.no_grad():
            scores = model.score(model.vectors(tokens, attention_mask=mask))[..., 0]
            by_side[side] = last_scores(scores, mask)
            book = model(tokens, mask)
        print(f"padding on the {side}: {by_side[side].tolist()}")
        assert torch.allclose(by_side[side], book, atol=1e-4)
    assert torch.allclose(by_side["left"], by_side["right"], atol=1e-4)
    """,
    mistakes=[
        Mistake(
            "You read the last column, which is padding in all rows but the longest.",
            "scores[torch.arange(len(scores)), last]",
            "scores[:, -1]",
        ),
        Mistake(
            "You counted the real tokens; with padding on the left the last one stands elsewhere.",
            "(places * mask).argmax(dim=1)",
            "mask.sum(dim=1) - 1",
        ),
        Mistake(
            "You read the *first* real token, which has seen nothing.",
            "(places * mask).argmax(dim=1)",
            "mask.int().argmax(dim=1)",
        ),
        Mistake(
            "You took the mean over the real tokens.",
            "scores[torch.arange(len(scores)), last]",
            "(scores * mask).sum(1) / mask.sum(1)",
        ),
        Mistake(
            "You read one token too early.",
            "scores)), last]",
            "scores)), (last - 1).clamp(min=0)]",
        ),
    ],
)
def last_scores(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Score at each row's last real token, (B,).

    scores: (B, T); mask: boolean (B, T).
    """
    places = torch.arange(scores.shape[1])
    last = (places * mask).argmax(dim=1)
    return scores[torch.arange(len(scores)), last]


# --------------------------------------------------------------------------------------- kappa


def _labels_of_two(draw):
    yield Case("always the same", np.array([0, 1, 1, 0]), np.array([0, 1, 1, 0]))
    yield Case("never the same", np.array([0, 1, 0, 1]), np.array([1, 0, 1, 0]))
    yield Case("one always says 1", np.array([1, 1, 1, 1]), np.array([1, 0, 1, 1]))
    yield Case("different habits", np.array([0, 0, 0, 1, 1]), np.array([0, 1, 1, 1, 1]))
    a = np.array(draw.integers(0, 3, 20))
    b = np.where(draw.rng.random(20) < 0.6, a, draw.rng.integers(0, 3, 20))
    yield Case("left, right and tie", a, b)


@exercise(
    title="Agreement beyond chance",
    minutes=20,
    statement=r"""
    Two labellers have put the same $N$ items into categories, given as two arrays of whole numbers.
    Compute Cohen's kappa, $\kappa = (p_o - p_e)/(1 - p_e)$. Here $p_o$ is the share of items on
    which they agree, and $p_e$ the share expected by chance: each labeller keeps to how often they
    say each category *themselves*, and the two are independent.
    """,
    hints=[
        "By chance they agree on category k with the product of two shares.",
        "Sum over all categories that either of them has used.",
    ],
    cases=_labels_of_two,
    pipeline="""
    from sklearn.metrics import cohen_kappa_score

    from aigc_lab.alignment.labellers import Labeller, Pair, vote_table
    from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
    from aigc_lab.data.tiny_world.taste import StoryPrompt
    from aigc_lab.data.tiny_world.requests import StoryRequest

    world = WorldSettings(mix=(1, 0, 0, 0))
    stories = [d.text for d in TinyWorld(world).documents(400)]
    prompt = StoryPrompt(StoryRequest(), "Tell me a story.")
    pairs = [Pair(prompt, *two) for two in zip(stories[::2], stories[1::2])]
    votes = vote_table(pairs, [Labeller(seed=1), Labeller(seed=2)])
    yours = kappa_of_two(votes[:, 0].astype(int), votes[:, 1].astype(int))
    print(f"two readers of one taste: agreement {np.mean(votes[:, 0] == votes[:, 1]):.0%},")
    print(f"kappa {yours:.2f}; scikit-learn {cohen_kappa_score(*votes.T):.2f}")
    assert abs(yours - cohen_kappa_score(*votes.T)) < 1e-9
    """,
    mistakes=[
        Mistake(
            "That is the plain share of agreement: chance is forgotten.",
            "(observed - expected) / (1 - expected)",
            "observed",
        ),
        Mistake(
            "You took 1/K as the agreement by chance; habits make it larger.",
            "sum(np.mean(first == k) * np.mean(second == k) for k in categories)",
            "1 / len(categories)",
        ),
        Mistake(
            "You pooled both labellers' frequencies: that is Scott's pi. Each has their own.",
            "np.mean(first == k) * np.mean(second == k)",
            "((np.mean(first == k) + np.mean(second == k)) / 2) ** 2",
        ),
        Mistake(
            "You forgot to divide by what is left above chance.",
            " / (1 - expected)",
            "",
        ),
        Mistake(
            "You left out categories that only one of them has used, or counted one only.",
            "for k in categories",
            "for k in categories[:1]",
        ),
    ],
)
def kappa_of_two(first: np.ndarray, second: np.ndarray) -> float:
    """Cohen's kappa of two labellers.

    first, second: (N,) whole numbers; at least two categories occur.
    """
    categories = np.union1d(first, second)
    observed = np.mean(first == second)
    expected = sum(np.mean(first == k) * np.mean(second == k) for k in categories)
    return float((observed - expected) / (1 - expected))


# -------------------------------------------------------------------------- how sure is it?


def _foreseen_and_seen(draw):
    yield Case("one vote", np.array([1.0]), np.array([True]), 5)
    yield Case("all in one bin", np.array([0.1, 0.2, 0.3]), np.array([True, False, True]), 2)
    yield Case("two bins of different size", np.array([-2.0, 3.0, 3.1, 3.2]), np.ones(4) > 0, 4)
    yield Case("equal scores", np.zeros(4), np.array([True, False, True, True]), 4)
    on_border = np.array([0.0, 0.0, -1.0, 2.0])
    yield Case("on a border", on_border, np.array([True, True, False, False]), 2)
    yield Case("sure beyond doubt", np.array([-800.0, 1.0]), np.array([True, True]), 4)
    yield Case("very sure", np.array([30.0, -30.0]), np.array([True, True]), 10)
    differences = draw.array(40, scale=2)
    votes = draw.rng.random(40) < 1 / (1 + np.exp(-0.5 * differences))
    yield Case("a model that is too sure", differences, votes, 6)


@exercise(
    title="How sure may it be?",
    minutes=25,
    statement=r"""
    For $N$ pairs, `differences` holds the score of the first reply minus that of the second, and
    `first_won` whether the first was preferred. Compute the **expected calibration error** of the
    foreseen probabilities $p = \sigma(\text{difference})$: sort the pairs into `n_bins` bins of
    equal width by $p$ (a $p$ on a border belongs to the lower bin), and take in each bin the
    distance between the mean of $p$ and the share of pairs that the first reply won; then the mean
    of these distances, each bin counting as often as it has pairs.
    """,
    hints=[
        "The bin of p is `np.ceil(p * n_bins) - 1`, and 0 for p = 0.",
        "Bins without a pair count for nothing.",
    ],
    cases=_foreseen_and_seen,
    pipeline="""
    from aigc_lab.alignment.labellers import bradley_terry
    from aigc_lab.evaluation.classification import calibration_error

    rng = np.random.default_rng(0)
    true = rng.normal(size=5000)
    votes = rng.random(5000) < 1 / (1 + np.exp(-true))
    for name, scale in (("the true scores", 1.0), ("three times the scores", 3.0)):
        yours = calibration_of_votes(scale * true, votes, 10)
        print(f"{name}: {yours:.3f}")
        book = calibration_error(1 / (1 + np.exp(-scale * true)), votes, 10)
        assert abs(yours - book) < 1e-9
    """,
    mistakes=[
        Mistake(
            "Every bin counts the same in your mean, however few pairs it has.",
            "* here.mean()",
            "/ n_bins",
        ),
        Mistake(
            "The differences themselves are no probabilities: take σ of them.",
            "np.exp(-np.logaddexp(0, -differences))",
            "differences",
        ),
        Mistake(
            "You took the probability that the *second* is preferred.",
            "(0, -differences)",
            "(0, differences)",
        ),
        Mistake(
            "You let bins that are too sure and bins that are not sure enough cancel.",
            "abs(p[here].mean() - first_won[here].mean())",
            "(p[here].mean() - first_won[here].mean())",
        ),
        Mistake(
            "You put a p on a border into the upper bin.",
            "np.ceil(p * n_bins) - 1",
            "np.minimum(np.floor(p * n_bins), n_bins - 1)",
        ),
        Mistake(
            "You compared with the middle of the bin; take the mean of p in it.",
            "p[here].mean() -",
            "(k + 0.5) / n_bins -",
        ),
    ],
)
def calibration_of_votes(differences: np.ndarray, first_won: np.ndarray, n_bins: int) -> float:
    """Expected calibration error of σ(differences).

    differences: (N,); first_won: boolean (N,).
    """
    p = np.exp(-np.logaddexp(0, -differences))
    bins = np.maximum(np.ceil(p * n_bins) - 1, 0)
    error = 0.0
    for k in range(n_bins):
        here = bins == k
        if here.any():
            error += abs(p[here].mean() - first_won[here].mean()) * here.mean()
    return error


# ------------------------------------------------------------------------- length at equal worth


def _scores_words_worth(draw):
    worth = draw.array(8)
    words = np.array([3.0, 9.0, 4.0, 7.0, 5.0, 8.0, 6.0, 2.0])
    three = np.array([1.0, 0.0, 0.0]), np.array([2.0, 3.0, 5.0]), np.array([1.0, 0.0, 2.0])
    yield Case("as many replies as numbers to find", *three)
    yield Case("no bias", worth + 1, words, worth)
    yield Case("only length", 0.5 * words - 3, words, worth)
    yield Case("worth and length", worth + 0.2 * words, words, worth)
    yield Case("length and worth go together", worth + 0.1 * words, words + 3 * worth, worth)
    many = draw.array(50)
    long = 20 + 5 * many + 4 * draw.array(50)
    yield Case("fifty replies", many + 0.05 * long + draw.array(50), long, many)


@exercise(
    title="The price of a word",
    minutes=20,
    statement=r"""
    Is a reward model biased towards length? Fit by least squares, over $N$ replies,
    $\text{score} \approx a + b \cdot \text{worth} + c \cdot \text{words}$ and return $c$: by how
    much the score rises with a word *at equal worth*.
    """,
    hints=[
        "A column of ones, the worths and the words make a matrix (N, 3); `np.linalg.lstsq` does "
        "the rest.",
        "The slope of the score over the words alone mixes in what longer replies are worth.",
    ],
    cases=_scores_words_worth,
    mistakes=[
        Mistake(
            "That is the slope over words alone; longer replies may be worth more.",
            "np.column_stack([np.ones(len(words)), worth, words])",
            "np.column_stack([np.ones(len(words)), words])",
        ),
        Mistake(
            "You forgot the constant: scores have no zero of their own.",
            "[np.ones(len(words)), worth, words]",
            "[worth, words]",
        ),
        Mistake(
            "You returned the weight of the worth.",
            "[-1]",
            "[-2]",
        ),
        Mistake(
            "You fitted the words by the score; the score is what is to be explained.",
            "worth, words])",
            "worth, scores])",
            "columns, scores",
            "columns, words",
        ),
    ],
)
def price_of_a_word(scores: np.ndarray, words: np.ndarray, worth: np.ndarray) -> float:
    """Rise of the score with a word at equal worth.

    scores, words, worth: (N,).
    """
    columns = np.column_stack([np.ones(len(words)), worth, words])
    weights, *_ = np.linalg.lstsq(columns, scores, rcond=None)
    return float(weights[-1])


# ------------------------------------------------------------------ a reward model from scratch


def _features_of_pairs(draw):
    def case(label, n, k, decay):
        chosen, rejected = draw.array(n, k), draw.array(n, k)
        return Case(label, chosen, rejected, decay)

    yield Case("one pair", np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), 0.1)
    yield Case("the same features", np.ones((2, 2)), np.ones((2, 2)), 0.5)
    yield Case("always the larger", np.array([[3.0], [5.0]]), np.array([[1.0], [2.0]]), 0.01)
    yield case("five pairs", 5, 2, 0.1)
    yield case("thirty pairs", 30, 4, 0.05)
    yield case("strong decay", 20, 3, 5.0)


@exercise(
    title="A reward model from scratch",
    minutes=75,
    statement=r"""
    The smallest reward model is a weighted sum of features of a reply, $r = w \cdot f$ with $f$ and
    $w$ of shape $(F)$. You get the features of the chosen and of the rejected replies of $N$ pairs,
    both $(N, F)$. Find the $w$ that makes

    $$
    \frac1N \sum_{n=1}^{N} -\log\sigma\big(w \cdot (f^+_n - f^-_n)\big)
    + \frac{\lambda}{2}\, w \cdot w
    $$

    smallest, with `decay` for $\lambda > 0$, so exactly that four digits of the weights are right.
    The function is convex: it has one minimum, and everything that goes downhill finds it. Use
    numpy only. Afterwards your model learns from votes on stories, by counting words, and has to
    beat the rule that the longer story wins.
    """,
    hints=[
        "With $d = f^+ - f^-$ the gradient is $-\\frac1N \\sum_n \\sigma(-w \\cdot d_n)\\, d_n + "
        "\\lambda w$.",
        "Gradient descent goes down for sure with the rate $1/L$, where $L$ is λ plus a quarter of "
        "the mean of $d_n \\cdot d_n$. It needs thousands of steps; the check has a time limit.",
        "Newton's method needs ten: the second derivative is "
        "$\\frac1N \\sum_n \\sigma(1 - \\sigma)\\, d_n d_n^\\top + \\lambda I$.",
        "There is no constant feature to learn: it is the same in both replies and cancels.",
    ],
    cases=_features_of_pairs,
    returns="F",
    pipeline="""
    import random
    from collections import Counter

    from aigc_lab.alignment.labellers import Labeller, Pair, chances, label, share_foreseen
    from aigc_lab.data.tiny_world import WorldSettings
    from aigc_lab.data.tiny_world.taste import story_prompts

    world, chance = WorldSettings(seed=41), random.Random(0)
    pairs = [
        Pair(prompt, *(prompt.request.tell(chance, world)[0] for _ in range(2)))
        for prompt in story_prompts(world, 1500)
    ]
    train, test = pairs[:1100], pairs[1100:]
    votes = label(train, Labeller())
    words = sorted({word for vote in votes for word in vote.chosen.split()})
    place = {word: i for i, word in enumerate(words)}

    def count(texts):
        found = np.zeros((len(texts), len(words)))
        for row, text in enumerate(texts):
            for word, n in Counter(text.split()).items():
                if word in place:
                    found[row, place[word]] = n
        return found

    w = fit_reward(count([v.chosen for v in votes]), count([v.rejected for v in votes]), 0.02)
    differences = (count([p.first for p in test]) - count([p.second for p in test])) @ w
    longer = np.array([len(p.first.split()) - len(p.second.split()) for p in test])
    p_first = chances(test, Labeller())
    yours, rule = (share_foreseen(d, p_first) for d in (differences, longer))
    best = [words[i] for i in np.argsort(-w)[:8]]
    print(f"your model foresees {yours:.1%} of votes on new pairs, the rule {rule:.1%}")
    print("words that it likes best:", *best)
    assert yours > rule
    """,
    rtol=4e-4,
    equivalent={
        "`1 - wrong` → `1 + wrong`": "the second derivative decides the way, not the goal",
        "`1 - wrong` → `2 - wrong`": "the second derivative decides the way, not the goal",
        "`wrong * (1 - wrong)` → `wrong / (1 - wrong)`": "as above, and here it still arrives",
        "`range(50)` → `range(49)`": "it arrives in ten",
        "`range(50)` → `range(51)`": "it arrives in ten",
    },
    mistakes=[
        Mistake(
            "The sign is turned round: your model prefers the rejected replies.",
            "d = chosen - rejected",
            "d = rejected - chosen",
        ),
        Mistake(
            "You forgot the decay; where votes are all foreseen the weights grow without end.",
            "+ decay * w",
            "+ 1e-6 * w",
            "+ decay * np.eye(len(w))",
            "+ 1e-6 * np.eye(len(w))",
        ),
        Mistake(
            "You took the sum over the pairs, not the mean: the decay counts N times too little.",
            "-(wrong @ d) / len(d)",
            "-(wrong @ d)",
            "* d).T @ d / len(d)",
            "* d).T @ d",
        ),
        Mistake(
            "You stopped too early: go on until the gradient is nearly 0.",
            "range(50)",
            "range(1)",
        ),
        Mistake(
            "Your decay is twice as strong: the derivative of λ/2 · w² is λw.",
            "+ decay * w",
            "+ 2 * decay * w",
            "+ decay * np.eye(len(w))",
            "+ 2 * decay * np.eye(len(w))",
        ),
    ],
)
def fit_reward(chosen: np.ndarray, rejected: np.ndarray, decay: float) -> np.ndarray:
    """Weights (F,) of features.

    chosen, rejected: (N, F).
    """
    d = chosen - rejected
    w = np.zeros(d.shape[1])
    for _ in range(50):
        wrong = 1 / (1 + np.exp(d @ w))
        slope = -(wrong @ d) / len(d) + decay * w
        bend = ((wrong * (1 - wrong))[:, None] * d).T @ d / len(d) + decay * np.eye(len(w))
        w = w - np.linalg.solve(bend, slope)
    return w


# ---------------------------------------------------------------------------------------- a claim

better_reward_model = question(
    "better_reward_model",
    title="Is the new reward model better?",
    minutes=15,
    statement=r"""
    A colleague reports: "I collected 3,000 more comparisons with a new team. Our reward model's
    accuracy rose from 68 % to 74 %, measured on a tenth of all comparisons that I kept apart at
    random. So the chat model will get better, too." What would you ask or measure before you
    believe either sentence?
    """,
    answer=r"""
    - *The ceiling has moved.* The test set now holds votes of the new team. If it votes on easier
      pairs, or more carefully, the same model would score higher. Measure the old model on the same
      new test set, and the agreement within each team.
    - *The split.* A tenth of all *comparisons* at random puts other comparisons of the same
      requests, perhaps of the same replies, into training. Split by request.
    - *Chance.* With 600 comparisons in the test the standard error is nearly two points; compare
      the two models pair by pair, with several seeds.
    - *A habit of the team.* Do its votes go with length, with the side on the screen, with a
      phrase that it was told to like? Accuracy on its own votes rises with every habit that a
      model can learn. Look at the score against length at equal worth, and at accuracy on the
      other team's votes, or on pairs of equal length.
    - *Where the new pairs come from.* Accuracy on replies of the old chat model says little about
      replies that are far from them, and there optimisation will go. Have replies judged that were
      chosen *by* the reward model (best of n), fresh ones, by people.
    - *The second sentence.* Whether the chat model gets better is measured by comparing its replies
      before and after, by labellers who do not know which is which. A more accurate reward model
      with a hole can give a worse policy than a less accurate one without.
    """,
)
