"""Exercises of chapter 12, prompting, few-shot, chain of thought."""

from collections import Counter

import numpy as np
import torch

from aigc_lab.exercises.declaring import Case, Mistake, exercise, question

# ------------------------------------------------------------------------------------- the prompt


def _shots(draw):
    one = [("2 + 2", "4")]
    yield Case("no examples", [], "1 + 1")
    yield Case("one example", one, "1 + 1")
    yield Case("the question itself is among the examples", [*one, ("1 + 1", "2")], "1 + 1")
    yield Case("an answer that is the question", [("a", "b"), ("b", "a")], "b")
    sums = [(f"{a} + {b}", str(a + b)) for a, b in enumerate(draw.integers(10, 90, 5))]
    yield Case("five examples", sums, "7 + 8")


@exercise(
    title="A few-shot prompt",
    minutes=5,
    statement=r"""
    Write a prompt of solved examples and a question, in the format `Q: 2 + 2` / `A: 4`, two lines
    for each example, one after the other, and at the end the question with an `A:` that the model
    is to go on from. Leave out examples that ask the question itself: they would give the answer
    away.
    """,
    hints=[
        "The last line ends with the colon: the space belongs to the answer's first token.",
        "Lines are joined by a line break; there is none at the end.",
    ],
    cases=_shots,
    mistakes=[
        Mistake(
            "Your prompt ends in a space; the answer's first token brings its own.",
            '\\nA:"])',
            '\\nA: "])',
        ),
        Mistake(
            "The test question stands among your examples, with its answer: a leak.",
            " if asked != new_question",
            "",
        ),
        Mistake(
            "You left out examples by their answer, not by their question.",
            "asked != new_question",
            "answer != new_question",
        ),
        Mistake(
            "The question belongs at the end, after the examples.",
            "[*shown, ",
            "[",
            '"])',
            '", *shown])',
        ),
        Mistake("Your examples have no answers.", "\\nA: {answer}", "\\nA:"),
    ],
)
def few_shot_prompt(examples: list[tuple[str, str]], new_question: str) -> str:
    """Pairs of question and answer, and then a question without one."""
    shown = [f"Q: {asked}\nA: {answer}" for asked, answer in examples if asked != new_question]
    return "\n".join([*shown, f"Q: {new_question}\nA:"])


# ------------------------------------------------------------------------------- log p of an answer


def _rows(draw):
    yield Case("one token each", draw.array(2, 3), [1, 2], 1)
    yield Case("an answer of two tokens", draw.array(3, 3), [0, 1, 2], 1)
    yield Case("large logits", draw.array(4, 5, scale=2000), [0, 4, 2, 3], 2)
    yield Case("a longer row", draw.array(9, 6, scale=3), draw.integers(0, 6, 9), 4)
    yield Case("a long prompt", draw.array(7, 4, scale=3), draw.integers(0, 4, 7), 6)


@exercise(
    title="How likely is the answer?",
    minutes=10,
    statement=r"""
    A model has read a row of $T$ tokens, a prompt of `n_prompt` tokens and the answer behind it,
    and gave `logits` of shape $(T, V)$: row $t$ is for the token *after* place $t$. Give
    $\log p(\text{answer} \mid \text{prompt})$.
    """,
    hints=[
        "The first token of the answer stands at place `n_prompt`; its probability is in the row "
        "before.",
        "Subtract the largest logit of each row before you take exponentials.",
    ],
    cases=_rows,
    pipeline="""
    from aigc_lab.evaluation.prompting import answer_log_probs
    from aigc_lab.models.shipped import load_shipped

    model, tokenizer = load_shipped("base")
    prompt, answer = "Sums:\\n37 + 48 =", " 85"
    asked = [tokenizer.special_tokens["<|endoftext|>"], *tokenizer.encode(prompt)]
    row = asked + tokenizer.encode(answer)
    with torch.no_grad():
        logits = model(torch.tensor([row]))[0].double().numpy()
    yours = answer_log_prob(logits, row, len(asked))
    book = answer_log_probs(model, tokenizer, prompt, [answer]).item()
    print(f"the base model says {answer!r} with probability {np.exp(yours):.3f}")
    assert abs(yours - book) < 1e-3
    """,
    mistakes=[
        Mistake(
            "You are one place off: row t of the logits is for token t + 1.",
            "places - 1",
            "places",
        ),
        Mistake(
            "You added the prompt's own tokens: that is log p(prompt, answer).",
            "np.arange(n_prompt,",
            "np.arange(1,",
        ),
        Mistake(
            "You took the mean over the tokens, not the sum.",
            "[places]].sum()",
            "[places]].mean()",
        ),
        Mistake(
            "You added logits. They are log-probabilities only up to a constant of each row.",
            "logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))",
            "logs = logits",
        ),
        Mistake(
            "`exp` of a large logit overflows: subtract the largest of each row first.",
            "logits - logits.max(axis=1, keepdims=True)",
            "logits",
        ),
        Mistake(
            "You left out the answer's last token.",
            "len(tokens))",
            "len(tokens) - 1)",
        ),
    ],
)
def answer_log_prob(logits: np.ndarray, tokens: list[int], n_prompt: int) -> float:
    """Log-probability in nats of the answer, tokens n_prompt and later.

    logits: (T, V).
    tokens: T ids.
    """
    scores = logits - logits.max(axis=1, keepdims=True)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    places = np.arange(n_prompt, len(tokens))
    return logs[places - 1, np.array(tokens)[places]].sum()


# -------------------------------------------------------------------------------- prefix matching


def _attention_over_repeats(draw):
    def case(label, tokens, H):
        T = len(tokens[0])
        scores = draw.tensor(len(tokens), H, T, T).masked_fill(
            ~torch.ones(T, T).tril().bool(), -torch.inf
        )
        return Case(label, scores.softmax(-1), torch.tensor(tokens))

    yield case("one token twice", [[0, 0]], 1)
    yield case("a b a", [[3, 1, 3]], 2)
    yield case("some rows repeat more", [[0, 1, 2, 3], [5, 5, 1, 5]], 2)
    yield case("three times", [[4, 1, 4, 2, 4, 3]], 1)
    yield case("many", [draw.integers(0, 5, 9) for _ in range(3)], 2)


@exercise(
    title="Find induction heads",
    minutes=20,
    statement=r"""
    For each head, give its prefix-matching score: for every token that has occurred before in its
    row, add up the attention weights that it gives to the places *directly behind* its earlier
    occurrences; then take the mean over all such tokens of all rows together. `weights` has shape
    $(B, H, T, T)$, the last axis being what is looked at; `tokens` $(B, T)$. At least one token
    has occurred before.
    """,
    hints=[
        "`tokens[:, :, None] == tokens[:, None, :]` says for all pairs of places whether their "
        "tokens are the same; `.tril(-1)` keeps the earlier ones.",
        "Place j + 1 is behind place j: shift that table by one along its last axis.",
    ],
    cases=_attention_over_repeats,
    returns="H",
    pipeline="""
    from aigc_lab.data.in_context import Mappings
    from aigc_lab.evaluation import induction
    from aigc_lab.training.in_context import learning

    *_, (model, _) = learning(Mappings(n_pairs=8, batch_size=16), 2, n_steps=20)
    tokens = Mappings(n_pairs=8, seed=1).batch(0).tokens
    maps = induction.attention_maps(model, tokens)
    book = torch.stack([induction.prefix_matching(w, tokens) for w in maps])
    with swap("aigc_lab.evaluation.induction.prefix_matching", prefix_score) as swapped:
        yours = torch.stack([induction.prefix_matching(w, tokens) for w in maps])

    print(f"your function ran {swapped.calls} times; scores of each layer's heads:")
    print(yours)
    assert torch.allclose(book, yours, atol=1e-5)
    """,
    mistakes=[
        Mistake(
            "You counted attention to the earlier occurrence itself; an induction head looks at "
            "what stood behind it.",
            "same.roll(1, dims=2)",
            "same",
        ),
        Mistake(
            "You shifted the places that look, not those that are looked at.",
            "dims=2",
            "dims=1",
        ),
        Mistake(
            "You took the mean over all tokens; those without an earlier occurrence cannot match.",
            "[:, same.any(-1)].mean(1)",
            ".mean((1, 2))",
        ),
        Mistake(
            "You took a token for its own earlier occurrence.",
            ".tril(-1)",
            ".tril()",
        ),
        Mistake("You shifted the wrong way, to the place before.", "roll(1", "roll(-1"),
        Mistake("You took the sum, not the mean.", ".mean(1)", ".sum(1)"),
    ],
)
def prefix_score(weights: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Mean attention to what stood behind earlier occurrences, (H,).

    weights: (B, H, T, T), tokens: (B, T).
    """
    same = (tokens[:, :, None] == tokens[:, None, :]).tril(-1)
    behind = same.roll(1, dims=2)
    found = (weights * behind[:, None]).sum(-1)  # (B, H, T)
    return found.transpose(0, 1)[:, same.any(-1)].mean(1)


# --------------------------------------------------------------------------------- without a head


def _outputs_of_heads(draw):
    yield Case("one of two heads", draw.tensor(1, 1, 4), [1], 2)
    yield Case("no head", draw.tensor(1, 2, 4), [], 2)
    yield Case("all heads", draw.tensor(1, 2, 4), [0, 1], 2)
    yield Case("heads of width 1", draw.tensor(1, 2, 3), [0, 2], 1)
    yield Case("two of three", draw.tensor(2, 3, 12), [2, 0], 4)
    yield Case("the same head twice", draw.tensor(2, 3, 6), [1, 1], 2)


@exercise(
    title="Take heads out",
    minutes=10,
    statement=r"""
    `x`, of shape $(B, T, C)$, holds the outputs of all heads side by side, head $h$ in the columns
    $hD$ to $(h+1)D - 1$ with $D$ = `head_dim`, before the output matrix mixes them. Return a copy
    in which the given heads are 0. Leave `x` as it is: the model still needs it.
    """,
    hints=["Make `x` a tensor of shape (B, T, H, D) with `unflatten`, and a copy with `clone`."],
    cases=_outputs_of_heads,
    returns="B T C",
    pipeline="""
    from aigc_lab.evaluation.induction import without_heads
    from aigc_lab.models.shipped import load_shipped

    model, tokenizer = load_shipped("base")
    tokens = torch.tensor([[0, *tokenizer.encode("One morning Mei was by the river.")]])
    with torch.no_grad():
        whole = model(tokens)
        with without_heads(model, [(2, 0), (2, 3)]):
            book = model(tokens)
        with (
            swap("aigc_lab.evaluation.induction._zero_heads", remove_heads) as swapped,
            without_heads(model, [(2, 0), (2, 3)]),
        ):
            yours = model(tokens)

    print(f"your function ran {swapped.calls} time")
    print(f"without the heads the logits change by up to {(yours - whole).abs().max():.1f}")
    assert swapped.calls == 1 and torch.allclose(book, yours, atol=1e-5)
    """,
    mistakes=[
        Mistake(
            "You kept the given heads and took the others out.",
            "by_head[:, :, list(heads)] = 0",
            "others = [h for h in range(by_head.shape[2]) if h not in heads]; "
            "by_head[:, :, others] = 0",
        ),
        Mistake(
            "You took columns h, h + H, h + 2H …; a head's columns stand side by side.",
            "(-1, head_dim)",
            "(head_dim, -1)",
            "by_head[:, :, list(heads)] = 0",
            "by_head[:, :, :, list(heads)] = 0",
        ),
        Mistake(
            "You took out tokens and not heads.",
            "by_head[:, :, list(heads)] = 0",
            "by_head[:, [h for h in heads if h < x.shape[1]]] = 0",
        ),
    ],
)
def remove_heads(x: torch.Tensor, heads: list[int], head_dim: int) -> torch.Tensor:
    """(B, T, C) with the columns of some heads at 0."""
    by_head = x.unflatten(-1, (-1, head_dim)).clone()
    by_head[:, :, list(heads)] = 0
    return by_head.flatten(2)


# -------------------------------------------------------------------------------- the best reader


def _chains(draw):
    yield Case("one state", [0], 2, 1.0)
    yield Case("two states", [0, 1], 2, 1.0)
    yield Case("the same again", [1, 1, 1, 1], 2, 0.5)
    yield Case("three kinds", [0, 1, 2, 0, 1, 0], 3, 1.0)
    yield Case("long", draw.integers(0, 3, 20), 3, 2.0)
    yield Case("many kinds", draw.integers(0, 5, 12), 5, 0.1)


@exercise(
    title="The best reader of a Markov chain",
    minutes=25,
    statement=r"""
    A chain of `n_states` kinds of states has transition probabilities that nobody knows; each row
    was drawn from a Dirichlet distribution with all parameters `alpha`. For each place $t$ give
    the best prediction of the state *after* place $t$, from the states up to and with place $t$:
    a numpy array of shape $(T, K)$, where $K$ is `n_states`.
    """,
    hints=[
        "Only steps away from the present state tell something about the next one.",
        "Keep a table of counts, and update it as you go: at place t it holds the steps up to t.",
        "The mean of the posterior of a row is (count + α) / (sum of the counts + Kα).",
    ],
    cases=_chains,
    returns="T K",
    pipeline="""
    from aigc_lab.data.in_context import MarkovChains

    chains = MarkovChains(length=40, batch_size=200)
    batch = chains.batch(0)
    yours = np.stack([best_prediction(row.tolist(), 3, 1.0) for row in batch.tokens])
    yours = torch.from_numpy(yours)
    losses = {}
    for name, p in (("yours", yours), ("frequencies", chains.by_frequency(batch.tokens))):
        losses[name] = -p.gather(2, batch.targets[..., None]).log().mean().item()
        print(f"{name:>11}: {losses[name]:.3f} nats per state")
    assert torch.allclose(yours, chains.best(batch.tokens))
    assert losses["yours"] < losses["frequencies"]
    """,
    mistakes=[
        Mistake(
            "You count states, and not what follows the present one.",
            "counts[state] + alpha",
            "np.bincount(states[: t + 1], minlength=n_states) + alpha",
        ),
        Mistake(
            "You look into the future: your counts hold the whole chain.",
            "row = counts",
            "counts = np.zeros((n_states, n_states)); "
            "[np.add.at(counts, step, 1) for step in zip(states, states[1:], strict=False)]; "
            "row = counts",
        ),
        Mistake(
            "You forgot the prior: without α a state that has not followed yet is impossible.",
            "counts[state] + alpha",
            "counts[state] + 1e-9",
        ),
        Mistake(
            "You took the column of the table: what came before the present state.",
            "counts[state] + alpha",
            "counts[:, state] + alpha",
        ),
        Mistake("You added 1 whatever α is.", "counts[state] + alpha", "counts[state] + 1"),
        Mistake("Your rows do not sum to 1.", " / row.sum()", ""),
    ],
)
def best_prediction(states: list[int], n_states: int, alpha: float) -> np.ndarray:
    """Probabilities of the state after each place, (T, K)."""
    counts = np.zeros((n_states, n_states))
    found = []
    for t, state in enumerate(states):
        if t > 0:
            counts[states[t - 1], state] += 1
        row = counts[state] + alpha
        found.append(row / row.sum())
    return np.array(found)


# ------------------------------------------------------------------------------------------ a vote


def _votes(draw):
    yield Case("one", [7])
    yield Case("nothing was read", [None, None])
    yield Case("no samples", [])
    yield Case("most hold nothing", [None, 5, None])
    yield Case("as many, the larger first", [9, 2, 2, 9])
    yield Case("as many, the smaller first", [3, 8, 3, 8, None])
    yield Case("zero is an answer", [0, None, 0, 4])
    yield Case("many", draw.integers(0, 4, 25))


@exercise(
    title="The majority",
    minutes=5,
    statement=r"""
    Return the answer that most samples give. `None` stands for a sample in which no answer was
    found; it has no vote. Of equally many votes the answer that came first wins. If nobody has a
    vote, return `None`.
    """,
    hints=["`Counter(answers).most_common(1)` keeps the order of arrival for equal counts."],
    cases=_votes,
    mistakes=[
        Mistake(
            "Samples without an answer won the vote.",
            " if answer is not None",
            "",
        ),
        Mistake(
            "You took 0 for no answer: `if answer` is false for it.",
            "if answer is not None",
            "if answer",
        ),
        Mistake(
            "Of equally many you took the largest, not the first.",
            "max(votes, key=votes.get)",
            "max(votes, key=lambda answer: (votes[answer], answer))",
        ),
        Mistake(
            "Of equally many you took the last, not the first.",
            "max(votes, key=votes.get)",
            "max(reversed(votes), key=votes.get)",
        ),
        Mistake(
            "You returned the number of votes.", "max(votes, key=votes.get)", "max(votes.values())"
        ),
    ],
)
def vote_winner(answers: list[int | None]) -> int | None:
    """The most frequent answer, or None."""
    votes = Counter(answer for answer in answers if answer is not None)
    return max(votes, key=votes.get) if votes else None


# ------------------------------------------------------------------------- p(answer) from samples


def _samples_of_paths(draw):
    def case(label, n):
        paths = 0.01 + 0.3 * draw.rng.random(n)
        return Case(label, paths, draw.rng.random(n))

    yield Case("two samples", np.array([0.5, 0.1]), np.array([1.0, 0.0]))
    yield Case("the same path twice", np.array([0.4, 0.4, 0.2]), np.array([0.9, 0.9, 0.1]))
    yield case("five", 5)
    yield case("many", 40)


@exercise(
    title="An estimate, and how far to trust it",
    minutes=15,
    statement=r"""
    Estimate $p(a \mid q) = \sum_r p(r \mid q)\,p(a \mid q, r)$ from $n \ge 2$ reasoning paths
    $r_i$ that a model wrote, drawn from $p(r \mid q)$. `path_probs` holds the $p(r_i \mid q)$,
    `answer_probs` the $p(a \mid q, r_i)$ that were computed for each. Return an unbiased estimate
    and its standard error, with the sample variance (that divides by $n - 1$).
    """,
    hints=[
        "A likely path is drawn more often. What would it mean to count its probability again?",
        "The standard error of a mean is the standard deviation divided by √n.",
    ],
    cases=_samples_of_paths,
    returns=("estimate: ", "standard error: "),
    mistakes=[
        Mistake(
            "You weighted by p(r|q), but the paths were *drawn* with these probabilities: likely "
            "ones now count twice.",
            "answer_probs.mean()",
            "(path_probs * answer_probs).sum() / path_probs.sum()",
        ),
        Mistake(
            "You summed p(r|q) p(a|q,r) over the samples. That is the sum over *all* paths, each "
            "once; samples repeat.",
            "answer_probs.mean()",
            "(path_probs * answer_probs).sum()",
        ),
        Mistake(
            "You divided by n: that variance is too small.",
            "ddof=1",
            "ddof=0",
        ),
        Mistake(
            "That is the deviation of one sample; the mean of n is closer by √n.",
            " / np.sqrt(n)",
            "",
        ),
        Mistake(
            "You took the mean of logarithms; that estimates something smaller (Jensen).",
            "answer_probs.mean()",
            "np.exp(np.log(answer_probs + 1e-12).mean())",
        ),
    ],
)
def estimate_marginal(path_probs: np.ndarray, answer_probs: np.ndarray) -> tuple[float, float]:
    """Estimate of p(a|q) and its standard error, from paths drawn by p(r|q).

    path_probs, answer_probs: (n,).
    """
    n = len(answer_probs)
    return answer_probs.mean(), answer_probs.std(ddof=1) / np.sqrt(n)


# ------------------------------------------------------------------------------------- all paths


def _tables(draw):
    def table(n):
        p = draw.rng.random((n, n)) ** 2 + 0.01
        return p / p.sum(axis=1, keepdims=True)

    sure = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    yield Case("it must end", np.array([[1.0, 0.0], [1.0, 0.0]]), 1, 0.01, 3)
    yield Case("one way", sure, 1, 0.01, 5)
    yield Case("one way, too long", sure, 1, 0.01, 1)
    loop = np.array([[1.0, 0.0], [0.5, 0.5]])
    yield Case("a loop", loop, 1, 1e-3, 20)
    yield Case("three tokens", table(3), 1, 0.02, 6)
    yield Case("five tokens", table(5), 2, 0.01, 8)


@exercise(
    title="Every way to an answer",
    minutes=60,
    statement=r"""
    Find all texts that a small model may write, with their probabilities. The model knows only the
    last token: `table[i, j]` is the probability that token $j$ follows token $i$. Writing begins
    after the token `first` and stops when token 0 is written; texts are tuples of ids without
    `first` and without the final 0. Give up beginnings that are *less* likely than `smallest`, and
    those longer than `longest` tokens. A beginning that is kept and then ends is a text, however
    unlikely its end.

    Return a dictionary from texts to probabilities, and how much probability is missing from it.
    Texts of probability 0 are not in it.
    """,
    hints=[
        "Keep a list of beginnings with their probabilities; at first the empty one with 1.",
        "For each beginning: its end is a text; each other token makes a longer beginning.",
        "What is missing is 1 minus the sum of what was found.",
    ],
    cases=_tables,
    equivalent={
        "`longer >= smallest` → `longer > smallest`": "where they are equal, rounding decides",
    },
    mistakes=[
        Mistake(
            "You gave up texts whose *end* is unlikely; only beginnings are given up.",
            "if end > 0:",
            "if end >= smallest:",
        ),
        Mistake(
            "You compared the last token's probability, not that of the whole beginning.",
            "if longer >= smallest",
            "if table[last, token] >= smallest",
        ),
        Mistake(
            "You forgot the probability of the end: those are beginnings, not texts.",
            "end = p * table[last, 0]",
            "end = p * (table[last, 0] > 0)",
        ),
        Mistake(
            "You stop one token too early.",
            "range(longest + 1)",
            "range(longest)",
        ),
        Mistake(
            "You kept only the likeliest beginning: that is greedy decoding, and the sum over "
            "all ways is lost.",
            "beginnings = longer_ones",
            "beginnings = sorted(longer_ones, key=lambda item: -item[1])[:1]",
        ),
    ],
)
def all_texts(
    table: np.ndarray, first: int, smallest: float, longest: int
) -> tuple[dict[tuple[int, ...], float], float]:
    """Probabilities of texts, and what they lack to 1.

    table: (V, V), rows sum to 1; token 0 ends a text.
    """
    found = {}
    beginnings = [((), 1.0)]
    for _ in range(longest + 1):
        longer_ones = []
        for text, p in beginnings:
            last = text[-1] if text else first
            end = p * table[last, 0]
            if end > 0:
                found[text] = end
            for token in range(1, len(table)):
                longer = p * table[last, token]
                if longer >= smallest:
                    longer_ones.append(((*text, token), longer))
        beginnings = longer_ones
    return found, 1 - sum(found.values())


# ---------------------------------------------------------------------------------------- a claim

a_better_prompt = question(
    "a_better_prompt",
    title="Is the new prompt better?",
    minutes=15,
    statement=r"""
    A colleague reports: "With chain-of-thought prompting and four examples our model answers
    81 of 100 questions, without only 74. I tried six wordings and took the best. The answer is the
    last number of the text." Name what you would ask or measure before you believe that the steps
    help, and say for each point what in this chapter shows that it matters.
    """,
    answer=r"""
    - *Chance.* The standard error of a share near 0.78 of 100 is $\sqrt{0.78 \cdot 0.22/100}$,
      about 4 points, so 7 points between two prompts are no more than a hint. Pair the comparison
      question by question, use more of them, and several sets of examples or seeds.
    - *The best of six.* The wording was chosen on the questions on which it is reported. Wordings
      move results by more than 7 points here, so the best of six is better by chance alone. Choose
      on one set of questions and report on another.
    - *Two changes at once.* Examples and steps came together. The examples alone may have done it:
      in this chapter one example, even a wrong one, brought a lone sum to where it belongs. So
      measure four examples without steps.
    - *Equal cost.* Steps make answers several times as long. Is one answer with steps better than
      the vote of as many plain samples as cost the same?
    - *The parser.* "The last number" reads unfinished steps as an answer, and does so differently
      for the two prompts. Count how many texts hold no answer at all.
    - *A leak.* Are any of the hundred questions among the examples, or in the training data?
    - *The cause.* If it matters that the steps are the reason for the answer, change a step and see
      whether the answer follows.
    """,
)
