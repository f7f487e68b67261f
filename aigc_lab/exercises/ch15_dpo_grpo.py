"""Exercises of chapter 15, DPO and GRPO."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from aigc_lab.exercises.declaring import Case, Mistake, exercise, question

# ------------------------------------------------------------------------ groups without difference


def _chances_and_groups(draw):
    yield Case("it never works", 0.0, 4)
    yield Case("it always works", 1.0, 4)
    yield Case("even, two replies", 0.5, 2)
    yield Case("a hard question", 0.02, 8)
    yield Case("an easy question", 0.9, 8)
    yield Case("any", float(draw.rng.random()), draw.integer(3, 12))


@exercise(
    title="How many groups teach nothing?",
    minutes=5,
    statement=r"""
    A policy answers a question rightly with chance $p$; rewards are 1 and 0. It answers `G` times,
    each time anew. What is the chance that all rewards of the group are the same?
    """,
    hints=["All right, or all wrong."],
    cases=_chances_and_groups,
    mistakes=[
        Mistake("A group in which everything is right has no difference either.", "p**G + ", ""),
        Mistake(
            "A group in which everything is wrong has no difference either.", " + (1 - p) ** G", ""
        ),
        Mistake(
            "That is the chance that they differ.",
            "return p**G + (1 - p) ** G",
            "return 1 - p**G - (1 - p) ** G",
        ),
        Mistake(
            "Both must hold in all G replies, not in one.", "p**G + (1 - p) ** G", "p + (1 - p)"
        ),
    ],
)
def chance_of_no_difference(p: float, G: int) -> float:
    """Chance that G rewards of 0 or 1 are equal."""
    return p**G + (1 - p) ** G


# -------------------------------------------------------------------------------- the best policy


def _references(draw):
    def case(label, n, beta, scale=1.0):
        ref = draw.rng.random(n) + 0.05
        return Case(label, ref / ref.sum(), draw.array(n, scale=scale), beta)

    yield case("two replies", 2, 1.0)
    yield case("a high price", 4, 5.0)
    yield case("a low price", 4, 0.2)
    yield case("next to no price", 6, 1e-3, 3.0)
    yield case("many replies", 12, 0.7)


@exercise(
    title="The best policy there is",
    minutes=15,
    statement=r"""
    A prompt has $K$ possible replies, with probabilities `ref` under the reference and rewards
    `rewards`, both of shape $(K)$. Return the policy that maximises
    $\sum_y \pi(y)\, r(y) - \beta\, \mathrm{KL}(\pi \| \pi^{\text{ref}})$, shape $(K)$, and its
    distance $\mathrm{KL}(\pi^* \| \pi^{\text{ref}})$ in nats. Prices may be as low as 0.001.
    """,
    hints=[
        r"$\pi^*(y) \propto \pi^{\text{ref}}(y)\, e^{r(y)/\beta}$.",
        "exp(3 / 0.001) overflows. Work with logarithms, and subtract the largest.",
        "A reply whose probability is 0 adds 0 to the distance: 0 · log 0 must not become NaN.",
    ],
    cases=_references,
    returns=("policy: K", "distance: "),
    mistakes=[
        Mistake(
            "You multiply the reward by β: a high price would pull harder.", "/ beta", "* beta"
        ),
        Mistake(
            "You forgot the reference: it is the best policy's starting point.",
            "np.log(ref) + ",
            "",
        ),
        Mistake(
            "The best policy avoids high rewards: a sign.", "rewards / beta", "-rewards / beta"
        ),
        Mistake(
            "That is KL(π_ref‖π*), of the two turned round.",
            "(policy[here] * np.log(policy[here] / ref[here])).sum()",
            "(ref[here] * np.log(ref[here] / policy[here])).sum()",
        ),
        Mistake("Your policy does not sum to 1.", " / powers.sum()", ""),
        Mistake(
            "exp overflows at a low price: subtract the largest exponent first.",
            "scores - scores.max()",
            "scores",
        ),
    ],
)
def exact_optimum(ref: np.ndarray, rewards: np.ndarray, beta: float) -> tuple[np.ndarray, float]:
    """Best policy (K,) at a price beta of a nat, and its KL from ref."""
    scores = np.log(ref) + rewards / beta
    powers = np.exp(scores - scores.max())
    policy = powers / powers.sum()
    here = policy > 0
    return policy, (policy[here] * np.log(policy[here] / ref[here])).sum()


# ------------------------------------------------------------------------------- from logits to DPO


def _logits_of_pairs(draw):
    def case(label, B, lengths, n_prompt, beta, V=5, scale=1.0):
        T = n_prompt + max(lengths)
        mask = torch.zeros(2 * B, T, dtype=torch.bool)
        for row, length in enumerate(lengths):
            mask[row, n_prompt : n_prompt + length] = True
        tokens = torch.tensor(draw.integers(0, V, 2 * B * T)).view(2 * B, T)
        logits, ref = draw.tensor(2 * B, T, V, scale=scale), draw.tensor(2 * B, T, V)
        return Case(label, logits, ref, tokens, mask, beta)

    yield case("one pair of one token", 1, [1, 1], 1, 1.0)
    yield case("one pair, of other lengths", 1, [3, 1], 2, 0.5)
    yield case("two pairs", 2, [2, 1, 4, 2], 2, 0.1)
    yield case("far from the reference", 3, [2, 4, 3, 1, 2, 5], 3, 2.0, scale=6.0)
    yield case("so far that exp overflows", 5, [3, 2, 4, 3, 1, 2, 5, 4, 3, 2], 2, 50.0, scale=60.0)


@exercise(
    title="The DPO loss, from the logits",
    minutes=25,
    statement=r"""
    A batch holds $B$ chosen replies and then the $B$ rejected ones to the same prompts:
    `tokens` $(2B, T)$, with `is_reply` $(2B, T)$ True for the tokens of the replies, their ends
    included. `logits` and `ref_logits`, $(2B, T, V)$, are what policy and reference say after each
    token. Return the mean DPO loss over the pairs.
    """,
    hints=[
        "The logits of column t are for the token in column t + 1: compare `logits[:, :-1]` with "
        "`tokens[:, 1:]`, and shift the mask along.",
        "Sum the log-probabilities over each reply's tokens, then `chunk(2)`.",
        "`F.logsigmoid` does not overflow.",
    ],
    cases=_logits_of_pairs,
    gradients="logits",
    equivalent={
        "`both[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]` → "
        "`both[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., -1]`": (
            "an axis of length 1"
        ),
        "`both[:, :-1]` → `both[:, :]`": "`gather` looks at as many columns as there are tokens",
    },
    pipeline="""
    import copy

    from aigc_lab.alignment.dpo import DPOSettings, dpo_loss_of
    from aigc_lab.alignment.pairs import make_pair_batch
    from aigc_lab.data.preferences import Preference
    from aigc_lab.models.shipped import load_shipped

    ref, tokenizer = load_shipped("chat")
    policy = copy.deepcopy(ref)
    with torch.no_grad():
        policy.embedding.weight.mul_(1.02)  # a policy that has moved a little
    pairs = [
        Preference((("user", "Hello!"),), "Hello! What can I do?", "Goodbye!"),
        Preference((("user", "Who are you?"),), "I am a small language model.", "I am Mei."),
    ]
    batch = make_pair_batch(tokenizer, pairs, 320)
    book = dpo_loss_of(ref, DPOSettings(beta=0.1))(policy, batch) / 2

    tokens, seen = batch.replies.tokens, batch.replies.attention_mask
    is_reply = seen.clone()
    is_reply[:, : batch.replies.n_prompt] = False
    with torch.no_grad():
        logits = [model(tokens, attention_mask=seen) for model in (policy, ref)]
    yours = dpo_loss_from_logits(*logits, tokens, is_reply, 0.1)
    print(f"yours {yours:.5f}, the book's {book.item():.5f}, ln 2 = 0.69315")
    assert abs(yours - book) < 1e-4
    """,
    mistakes=[
        Mistake(
            "You are one place off: the logits of a column are for the token after it.",
            "both[:, :-1].log_softmax(-1)",
            "both[:, 1:].log_softmax(-1)",
        ),
        Mistake(
            "You forgot to shift the mask along with the tokens.",
            "is_reply[:, 1:]",
            "is_reply[:, :-1]",
        ),
        Mistake("You added up the prompt's tokens, too.", "logs * is_reply[:, 1:]", "logs"),
        Mistake(
            "You took means over tokens: the sum is the log-probability of the reply.",
            "(logs * is_reply[:, 1:]).sum(1)",
            "(logs * is_reply[:, 1:]).sum(1) / is_reply[:, 1:].sum(1)",
        ),
        Mistake(
            "You forgot the reference.",
            "moved = sums[0] - sums[1]",
            "moved = sums[0]",
        ),
        Mistake(
            "Your loss wants the rejected reply: a sign.", "chosen - rejected", "rejected - chosen"
        ),
        Mistake(
            "You took the rows as pairs side by side; the first half is the chosen ones.",
            "moved.chunk(2)",
            "(moved[::2], moved[1::2])",
        ),
        Mistake(
            "log σ(x) is −∞ where σ(x) becomes 0: use `F.logsigmoid`.",
            "-F.logsigmoid(beta * (chosen - rejected))",
            "-torch.sigmoid(beta * (chosen - rejected)).log()",
        ),
        Mistake(
            "You took the mean of the margins first: the loss is a mean over pairs of −log σ.",
            "-F.logsigmoid(beta * (chosen - rejected)).mean()",
            "-F.logsigmoid(beta * (chosen - rejected).mean())",
        ),
    ],
)
def dpo_loss_from_logits(
    logits: torch.Tensor,
    ref_logits: torch.Tensor,
    tokens: torch.Tensor,
    is_reply: torch.Tensor,
    beta: float,
) -> torch.Tensor:
    """Mean DPO loss of B pairs, in nats.

    logits, ref_logits: (2B, T, V); tokens, is_reply: (2B, T).
    """
    sums = []
    for both in (logits, ref_logits):
        logs = both[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
        sums.append((logs * is_reply[:, 1:]).sum(1))
    moved = sums[0] - sums[1]
    chosen, rejected = moved.chunk(2)
    return -F.logsigmoid(beta * (chosen - rejected)).mean()


# -------------------------------------------------------------------------------- group advantages


def _groups(draw):
    yield Case("one right of two", torch.tensor([1.0, 0.0]), 2)
    yield Case("all right", torch.ones(4).double(), 4)
    yield Case("a good prompt and a bad one", torch.tensor([0.0, 0, 0, 1, 1, 1, 1, 0]).double(), 4)
    yield Case("one group without difference", torch.tensor([0.0, 0, 0, 1, 0, 1]).double(), 3)
    yield Case("any rewards", draw.tensor(20, scale=3), 5)
    rewards = torch.tensor(draw.integers(0, 2, 24)).double()
    yield Case("right and wrong", rewards, 8)


@exercise(
    title="Group advantages",
    minutes=10,
    statement=r"""
    `rewards`, of shape $(PG)$, holds the rewards of $G$ = `group_size` replies to each of $P$
    prompts, those to one prompt one after the other. Give each reply's advantage, $(PG)$: how far
    its reward is above its group's mean, divided by the group's standard deviation (that of a
    sample, with $G-1$ below the root) plus $10^{-4}$.
    """,
    hints=[
        "Make the rewards a table of shape (P, G) with `view`.",
        "`keepdim=True` keeps an axis of size 1, so that means can be subtracted.",
        "`std` divides by G − 1 unless you say otherwise.",
    ],
    cases=_groups,
    returns="reply",
    pipeline="""
    from aigc_lab.alignment.grpo import GRPOSettings, grpo_step
    from aigc_lab.alignment.replies import make_reply_batch
    from aigc_lab.alignment.rollout import Samples
    from aigc_lab.models.gpt import GPT, GPTConfig
    from aigc_lab.training.optimizers import AdamW

    torch.manual_seed(0)
    policy = GPT(GPTConfig.llama(30, d_model=32, n_layers=1, n_heads=2)).eval()
    replies = [[5, 6, 0], [7, 0], [5, 0], [9, 9, 0], [6, 0], [8, 0], [5, 5, 0], [9, 0]]
    batch = make_reply_batch([[1, 2, 3]] * 4 + [[4, 2, 3]] * 4, replies, 16)
    said = [str(reply) for reply in replies]
    samples = Samples([None] * 8, batch, said, torch.ones(8, dtype=torch.bool))
    rewards = torch.tensor([1.0, 0, 1, 0, 0, 0, 1, 0])
    settings = GRPOSettings(group_size=4)
    optimizer = AdamW(policy.parameters(), lr=1e-3)
    with swap("aigc_lab.alignment.grpo.group_advantages", group_advantage) as swapped:
        numbers = grpo_step(
            policy, None, optimizer, samples, rewards, settings, torch.Generator()
        )

    print(f"your function ran {swapped.calls} time; the loss is {numbers['loss']:.6f} and its")
    print(f"gradient {numbers['gradient_norm']:.2f}")
    assert swapped.calls == 1 and abs(numbers["loss"]) < 1e-5 < numbers["gradient_norm"]
    """,
    mistakes=[
        Mistake(
            "Your mean is that of the whole batch: then an easy prompt looks like good work.",
            "groups.mean(1, keepdim=True)",
            "groups.mean()",
        ),
        Mistake(
            "You divide by the standard deviation of the whole batch, not by the group's.",
            "groups.std(1, keepdim=True)",
            "groups.std()",
        ),
        Mistake(
            "You divide by G under the root (`correction=0`); a sample's deviation has G − 1.",
            "std(1, keepdim=True)",
            "std(1, keepdim=True, correction=0)",
        ),
        Mistake(
            "0 / 0: in a group of equal rewards the deviation is 0. Add 1e-4 to it.",
            " + 1e-4",
            "",
        ),
        Mistake(
            "You took every P-th reply for a group; a group's replies stand one after the other.",
            "rewards.view(-1, group_size)",
            "rewards.view(group_size, -1).T",
            "centred.flatten()",
            "centred.T.flatten()",
        ),
        Mistake("You divide by the variance.", "std(", "var("),
        Mistake(
            "You did not subtract the mean.", "groups - groups.mean(1, keepdim=True)", "groups"
        ),
        Mistake(
            "A sign: better replies must get positive advantages.",
            "groups - groups",
            "groups.neg() + groups",
        ),
    ],
)
def group_advantage(rewards: torch.Tensor, group_size: int) -> torch.Tensor:
    """Advantages (P·G,) of replies within their groups."""
    groups = rewards.view(-1, group_size)
    centred = groups - groups.mean(1, keepdim=True)
    centred = centred / (groups.std(1, keepdim=True) + 1e-4)
    return centred.flatten()


# ------------------------------------------------------------------------------------------ pass@k


def _counts(draw):
    yield Case("none is right", 8, 0, 4)
    yield Case("all are right", 8, 8, 1)
    yield Case("one right, one try", 8, 1, 1)
    yield Case("one right, all tries", 8, 1, 8)
    yield Case("fewer wrong ones than tries", 6, 3, 4)
    yield Case("many samples", 200, 3, 100)
    n = draw.integer(5, 30)
    yield Case("any", n, draw.integer(1, n), draw.integer(2, n))


@exercise(
    title="pass@k without bias",
    minutes=10,
    statement=r"""
    Of $n$ answers to a question $c$ were right. Estimate the chance that at least one of $k \le n$
    answers is right, without bias: the share of all subsets of $k$ of the $n$ answers that hold a
    right one.
    """,
    hints=[
        "How many subsets of k hold no right answer? They are all from the n − c wrong ones.",
        "`math.comb(a, b)` is 0 where b is larger than a.",
    ],
    cases=_counts,
    mistakes=[
        Mistake(
            "1 − (1 − c/n)^k is too small on average: it draws the k answers *with* replacement.",
            "math.comb(n - c, k) / math.comb(n, k)",
            "(1 - c / n) ** k",
        ),
        Mistake(
            "That is the chance that all k are right.",
            "1 - math.comb(n - c, k) / math.comb(n, k)",
            "math.comb(c, k) / math.comb(n, k)",
        ),
        Mistake("That is the chance that none is right.", "1 - math.comb", "math.comb"),
        Mistake(
            "You asked whether any of all n is right, whatever k.",
            "math.comb(n - c, k) / math.comb(n, k)",
            "(c == 0)",
        ),
        Mistake(
            "That is pass@1, the share of right answers.",
            "1 - math.comb(n - c, k) / math.comb(n, k)",
            "c / n",
        ),
    ],
)
def pass_k(n: int, c: int, k: int) -> float:
    """Estimate of pass@k from n answers, c of them right."""
    return 1 - math.comb(n - c, k) / math.comb(n, k)


# ------------------------------------------------------------------------------- weights of tokens


def _advantages_and_lengths(draw):
    yield Case("a short and a long reply", np.array([1.0, -1.0]), np.array([2, 6]), 10)
    yield Case("equal lengths", draw.array(3), np.array([4, 4, 4]), 8)
    lengths = draw.rng.integers(1, 20, 6)
    yield Case("any", draw.array(6), lengths, 20)


@exercise(
    title="Who counts how much?",
    minutes=20,
    statement=r"""
    On a policy that has not moved, the gradient of GRPO's loss is
    $-\sum_i w_i \sum_t \nabla \log \pi(o_{i,t})$: each token of reply $i$ pulls with the same
    weight $w_i$. For $B$ replies with the given advantages and lengths (in tokens), return the
    weights of three ways, as an array of shape $(3, B)$. GRPO takes a mean over the tokens of each
    reply and then over replies; DAPO a mean over all tokens of the batch; Dr. GRPO divides the sum
    over all tokens by $B$ times `longest`.
    """,
    hints=[
        "GRPO: each reply's tokens share one B-th of the loss.",
        "A weight is the advantage times whatever the way divides by, and nothing else.",
    ],
    cases=_advantages_and_lengths,
    returns="way B",
    mistakes=[
        Mistake(
            "Your GRPO forgets the length: its tokens share what the reply gets.",
            "advantages / (B * lengths)",
            "advantages / B",
        ),
        Mistake(
            "DAPO divides by the tokens of the whole batch, not by each reply's.",
            "advantages / lengths.sum()",
            "advantages / lengths",
        ),
        Mistake(
            "Dr. GRPO divides by a length that is the same for all replies, whatever they are.",
            "advantages / (B * longest)",
            "advantages / (B * lengths.max())",
        ),
        Mistake(
            "You multiplied by the lengths: a weight is that of one token, not of the reply.",
            "np.stack([grpo, dapo, fixed])",
            "lengths * np.stack([grpo, dapo, fixed])",
        ),
        Mistake(
            "You left out the mean over replies.",
            "(B * lengths)",
            "lengths",
            "(B * longest)",
            "longest",
        ),
    ],
)
def token_weights(advantages: np.ndarray, lengths: np.ndarray, longest: int) -> np.ndarray:
    """Weight of each token of each reply: rows GRPO, DAPO, Dr. GRPO; (3, B).

    advantages, lengths: (B,).
    """
    B = len(advantages)
    grpo = advantages / (B * lengths)
    dapo = advantages / lengths.sum()
    fixed = advantages / (B * longest)
    return np.stack([grpo, dapo, fixed])


# ---------------------------------------------------------------------------- a whole GRPO, by hand


def _tables_and_draws(draw):
    def case(label, n, steps, G, epochs, clip, lr):
        rewards = draw.integers(0, 2, n - 1)
        rewards = np.array([*rewards, 1 - rewards[0]], dtype=float)  # never all the same
        return Case(label, draw.array(n), rewards, draw.rng.random((steps, G)), epochs, clip, lr)

    yield case("one step", 3, 1, 6, 1, 0.2, 1.0)
    yield case("two passes, and nothing is clipped", 3, 1, 6, 2, 10.0, 0.5)
    yield case("three passes and a clip", 4, 2, 8, 3, 0.1, 2.0)
    yield case("many steps", 5, 10, 6, 2, 0.2, 1.0)
    some = np.array([[0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.8, 0.99]])  # six of the first reply
    yield Case("a wrong move", np.array([2.0, 1, 0]), np.array([1.0, 1, 0]), some, 5, 0.1, 6.0)
    large = np.array([1000.0, 999, 0])
    yield Case("large logits", large, np.array([1.0, 0, 0]), draw.rng.random((2, 9)), 2, 0.2, 1.0)
    # A lucky draw: all replies are the same.
    yield Case(
        "no difference",
        np.array([9.0, 0.0]),
        np.array([1.0, 0.0]),
        np.full((2, 4), 0.5),
        1,
        0.2,
        1.0,
    )


@exercise(
    title="GRPO, all of it",
    minutes=60,
    statement=r"""
    Train a policy over $K$ replies to one prompt, $\pi$ = softmax(`logits`), by GRPO. In each step
    a group of $G$ replies is drawn with the numbers of one row of `uniforms`, shape
    $(\text{steps}, G)$: `np.searchsorted(np.cumsum(policy)[:-1], u)`. Their rewards are taken
     from `rewards` $(K)$; advantages as in the chapter, with the sample's deviation plus
    $10^{-4}$. Then `n_epochs` plain gradient steps of rate `lr` are made on

    $$
    L = -\frac{1}{G} \sum_i \min\left(\rho_i A_i,\;
    \text{clip}(\rho_i, 1 - \varepsilon, 1 + \varepsilon) A_i\right),
    \qquad \rho_i = \pi(y_i) / \pi^{\text{old}}(y_i),
    $$

    $\pi^{\text{old}}$ being the policy that drew the group. Return the logits at the end.
    """,
    hints=[
        "The gradient of log π(y) with respect to the logits is one-hot(y) − π.",
        "Where the clip is the smaller of the two, it is constant and the reply adds no gradient: "
        "for A > 0 when ρ > 1 + ε, for A < 0 when ρ < 1 − ε.",
        "ρ A has the gradient A ρ ∇ log π(y).",
        "π_old and the advantages stay as they are for all passes of a step.",
    ],
    cases=_tables_and_draws,
    returns="K",
    mistakes=[
        Mistake(
            "You took the policy of each pass as the old one: ρ is then always 1, and nothing is "
            "ever clipped.",
            "ratio = policy[drawn] / old[drawn]",
            "ratio = policy[drawn] / policy[drawn]",
        ),
        Mistake(
            "You went down the hill of the reward: a sign.",
            "logits = logits + lr",
            "logits = logits - lr",
        ),
        Mistake(
            "You clip on both sides whatever the advantage. A wrong move must be taken back "
            "however far it went: that is what the minimum is for.",
            "np.where(advantages > 0, ratio <= 1 + clip, ratio >= 1 - clip)",
            "(ratio <= 1 + clip) & (ratio >= 1 - clip)",
        ),
        Mistake(
            "You did not clip at all.",
            "np.where(advantages > 0, ratio <= 1 + clip, ratio >= 1 - clip)",
            "np.ones(len(drawn))",
        ),
        Mistake(
            "You left out ρ: the gradient of ρ A is ρ A ∇ log π.",
            "inside * ratio * advantages",
            "inside * advantages",
        ),
        Mistake(
            "∇ log π(y) is one-hot(y) − π, for all logits; you moved only those that were drawn.",
            "np.eye(len(logits))[drawn] - policy",
            "np.eye(len(logits))[drawn]",
        ),
        Mistake("Your deviation divides by G; a sample's has G − 1.", "std(ddof=1)", "std()"),
        Mistake(
            "You took the sum over the group, not the mean.", "score).mean(0)", "score).sum(0)"
        ),
    ],
    equivalent={
        "`ratio <= 1 + clip` → `ratio < 1 + clip`": "a ratio is hardly ever exactly at the clip",
        "`ratio >= 1 - clip` → `ratio > 1 - clip`": "a ratio is hardly ever exactly at the clip",
        "`advantages > 0` → `advantages >= 0`": "an advantage of 0 pulls nowhere",
        "`np.cumsum(old)[:-1]` → `np.cumsum(old)[:]`": "no number is drawn above the last sum, 1",
    },
)
def grpo_on_a_table(
    logits: np.ndarray,
    rewards: np.ndarray,
    uniforms: np.ndarray,
    n_epochs: int,
    clip: float,
    lr: float,
) -> np.ndarray:
    """Logits (K,) after GRPO; uniforms (steps, G) decide the draws."""
    for row in uniforms:
        old = np.exp(logits - logits.max())
        old = old / old.sum()
        drawn = np.searchsorted(np.cumsum(old)[:-1], row)
        got = rewards[drawn]
        advantages = (got - got.mean()) / (got.std(ddof=1) + 1e-4)
        for _ in range(n_epochs):
            policy = np.exp(logits - logits.max())
            policy = policy / policy.sum()
            ratio = policy[drawn] / old[drawn]
            inside = np.where(advantages > 0, ratio <= 1 + clip, ratio >= 1 - clip)
            score = np.eye(len(logits))[drawn] - policy
            logits = logits + lr * ((inside * ratio * advantages)[:, None] * score).mean(0)
    return logits


# ---------------------------------------------------------------------------------------- a claim

a_run_of_dpo = question(
    "a_run_of_dpo",
    title="Has DPO failed?",
    minutes=15,
    statement=r"""
    A colleague trains a model by DPO and shows you the log: "The loss went from 0.69 to 0.41, and
    the accuracy on the training pairs is 92 %. But the log-probability of the *chosen* replies has
    fallen by 40 nats. So it unlearns the good replies, and DPO has failed." Which parts of this
    follow, which do not, and what would you look at before you say anything about the policy?
    """,
    answer=r"""
    - *0.69 is ln 2*, the loss of a policy that is its own reference: the start is right. The loss
      says how the pairs are told apart, and nothing about what the policy writes.
    - *92 % on training pairs* says little: a flexible model tells apart any pairs that it has seen,
      and with noisy votes no model can foresee 92 % of *new* ones. Look at held-out pairs, beside
      the ceiling that the labellers' noise sets.
    - *The chosen replies fall.* DPO's loss depends only on the difference of two log-ratios. Both
      can fall, and do so here, too, as long as the rejected ones fall more. The probability goes
      to replies that stand in no pair; they may be better or worse than the chosen ones. So it is
      no failure by itself, but 40 nats say that the policy has gone far. Measure KL(π‖π_ref) on
      the policy's *own* samples; the mean change on held-out pairs of the reference's replies
      estimates −KL(π_ref‖π), the other direction.
    - *What counts* is what it writes: gold reward or people's judgement of samples on held-out
      prompts, their length, whether they end, errors, and some of them read.
    - *Then vary*: β up, fewer passes over the pairs, a lower rate. If gold rises and then falls
      while the margin goes on growing, it is over-optimisation, as with PPO.
    """,
)
