"""Exercises of chapter 14, RLHF with PPO."""

import numpy as np
import torch

from aigc_lab.exercises.declaring import Case, Mistake, exercise, question

# ------------------------------------------------------------------------------------ estimating KL


def _two_log_probs(draw):
    p, q = (draw.tensor(7).log_softmax(0) for _ in range(2))
    yield Case("equal", torch.tensor([-1.0, -2.0]), torch.tensor([-1.0, -2.0]))
    yield Case("the policy is surer", torch.tensor([-0.1]), torch.tensor([-2.0]))
    yield Case("the reference is surer", torch.tensor([-2.0]), torch.tensor([-0.1]))
    yield Case("a batch", torch.stack([p, q]), torch.stack([q, p]))


@exercise(
    title="k3",
    minutes=5,
    statement=r"""
    Tokens were drawn from a policy $\pi$. Give for each of them the estimate
    $k_3 = q - 1 - \log q$ of $\mathrm{KL}(\pi\|\pi^{\text{ref}})$, where
    $q = \pi^{\text{ref}}/\pi$ is the token's probability by the reference over that by the policy.
    """,
    hints=["Begin with log q, a difference of two log-probabilities.", "q is its exponential."],
    cases=_two_log_probs,
    returns="B",
    mistakes=[
        Mistake(
            "Your ratio is upside down: with the tokens drawn from the policy, the mean of that is "
            "no KL at all.",
            "ref_log_probs - log_probs",
            "log_probs - ref_log_probs",
        ),
        Mistake(
            "That is k1: right on average, but it can be negative.",
            "log_q.exp() - 1 - log_q",
            "-log_q",
        ),
        Mistake("That is k2: half the square of log q.", "log_q.exp() - 1 - log_q", "log_q**2 / 2"),
        Mistake(
            "You left out the −1: equal probabilities must give 0.",
            "log_q.exp() - 1 - log_q",
            "log_q.exp() - log_q",
        ),
    ],
)
def estimate_kl(log_probs: torch.Tensor, ref_log_probs: torch.Tensor) -> torch.Tensor:
    """k3 of each token in nats, in the shape of the arguments."""
    log_q = ref_log_probs - log_probs
    return log_q.exp() - 1 - log_q


# ------------------------------------------------------------------------- log-probs of the replies


def _batches(draw):
    def of(lengths, n_prompt, n_reply, vocab, scale=1.0):
        mask = torch.arange(n_reply) < torch.tensor(lengths)[:, None]
        width = n_prompt + n_reply
        tokens = [draw.integers(0, vocab, width) for _ in lengths]
        logits = draw.tensor(len(lengths), width, vocab, scale=scale)
        return logits, torch.tensor(tokens), n_prompt, mask

    yield Case("a prompt and a reply of one token", *of([1], 1, 1, 3))
    yield Case("one row", *of([3], 2, 3, 5))
    yield Case("rows of several lengths", *of([4, 1, 2], 3, 4, 6))
    yield Case("large logits", *of([2, 3], 2, 3, 4, scale=300))


@exercise(
    title="Log-probabilities of replies",
    minutes=15,
    statement=r"""
    A batch holds prompts of `n_prompt` columns (padded on the left) and behind them replies of $R$
    columns (padded on the right). From the model's `logits` $(B, T, V)$ and the `tokens` $(B, T)$,
    $T$ = `n_prompt` $+ R$, give the log-probability of every token of the replies, $(B, R)$, and 0
    where `mask` $(B, R)$ is False.
    """,
    hints=[
        "The logits of column t are those of the token in column t + 1.",
        "`gather(-1, tokens[..., None])` picks one number of each row of V.",
    ],
    cases=_batches,
    returns="B R",
    equivalent={
        "`log_probs.gather(-1, tokens[:, n_prompt:][..., None])[..., 0]` → "
        "`log_probs.gather(-1, tokens[:, n_prompt:][..., None])[..., -1]`": "an axis of length 1",
        "`logits[:, n_prompt - 1:-1]` → `logits[:, n_prompt - 1:]`": (
            "`gather` looks at as many columns as there are tokens"
        ),
    },
    pipeline="""
    from aigc_lab.alignment.dpo import reply_log_probs
    from aigc_lab.alignment.replies import make_reply_batch
    from aigc_lab.models.gpt import GPT, GPTConfig

    torch.manual_seed(0)
    policy = GPT(GPTConfig.llama(30, d_model=32, n_layers=1, n_heads=2)).eval()
    batch = make_reply_batch([[1, 2, 3], [4]], [[5, 6], [7, 8, 9]], 16)
    print("log-probabilities of two replies, by your function:")
    logits = policy(batch.tokens, attention_mask=batch.attention_mask)
    yours = log_probs_of_replies(logits, batch.tokens, batch.n_prompt, batch.reply_mask)
    print(yours.detach())
    assert torch.allclose(yours, reply_log_probs(policy, batch), atol=1e-5)
    """,
    mistakes=[
        Mistake(
            "You are one place off: those are the logits of the token *after* each. KL and ratios "
            "would still begin at 0 and 1.",
            "logits[:, n_prompt - 1 : -1]",
            "logits[:, n_prompt:]",
        ),
        Mistake(
            "You began one column early with the tokens: the first of them belongs to the prompt.",
            "tokens[:, n_prompt:]",
            "tokens[:, n_prompt - 1 : -1]",
        ),
        Mistake(
            "You forgot the mask: padding has log-probabilities, too, and they mean nothing.",
            "torch.where(mask, picked, 0.0)",
            "picked",
        ),
        Mistake(
            "You took logits for log-probabilities; they are so only up to a constant of each row.",
            ".log_softmax(dim=-1)",
            "",
        ),
        Mistake(
            "You have the mask the wrong way round.",
            "torch.where(mask, picked, 0.0)",
            "torch.where(mask, 0.0, picked)",
        ),
    ],
)
def log_probs_of_replies(
    logits: torch.Tensor, tokens: torch.Tensor, n_prompt: int, mask: torch.Tensor
) -> torch.Tensor:
    """log p of each token of the replies, (B, R); 0 for padding."""
    log_probs = logits[:, n_prompt - 1 : -1].log_softmax(dim=-1)
    picked = log_probs.gather(-1, tokens[:, n_prompt:][..., None])[..., 0]
    return torch.where(mask, picked, 0.0)


# ---------------------------------------------------------------------------------------- whitening


def _masked_numbers(draw):
    mask = torch.tensor([[True, True, True, False], [True, False, False, False]])
    yield Case("two tokens", draw.tensor(1, 2), torch.ones(1, 2, dtype=torch.bool))
    yield Case("no padding", draw.tensor(2, 4, scale=3), torch.ones(2, 4, dtype=torch.bool))
    yield Case("zeros in the padding", torch.where(mask, draw.tensor(2, 4) + 2, 0.0), mask)
    yield Case("junk in the padding", torch.where(mask, draw.tensor(2, 4), 50.0), mask)
    yield Case("NaN in the padding", torch.where(mask, draw.tensor(2, 4), float("nan")), mask)


@exercise(
    title="Whitening over the mask",
    minutes=10,
    statement=r"""
    Shift and scale the advantages of a batch so that over the real tokens (`mask` True) their mean
    is 0 and their variance 1; padding becomes 0. What stands in the padding may be anything, NaN
    too. The variance is the mean of the squares (no $n - 1$); add `1e-8` to it before the root.
    """,
    hints=[
        "`advantages[mask]` is a list of the real ones.",
        "0 times NaN is NaN: choose with `torch.where`, do not multiply by the mask.",
    ],
    cases=_masked_numbers,
    returns="B R",
    equivalent={
        "`real.var(correction=0) + 1e-08` → `real.var(correction=0) + 0.0`": (
            "it only helps where all advantages are equal"
        ),
        "`real.var(correction=0) + 1e-08` → `real.var(correction=0) + 1e-07`": (
            "far below the variance"
        ),
        "`real.var(correction=0) + 1e-08` → `real.var(correction=0) - 1e-08`": (
            "far below the variance"
        ),
    },
    mistakes=[
        Mistake(
            "You counted the padding in mean and variance: the real advantages keep a constant, "
            "which pushes all tokens the same way.",
            "real = advantages[mask]",
            "real = torch.nan_to_num(advantages).flatten()",
        ),
        Mistake(
            "You took mean and variance over the padding, too: what stands there, NaN even, comes "
            "into every advantage.",
            "real = advantages[mask]",
            "real = advantages.flatten()",
        ),
        Mistake("You did not take the mean away.", "(advantages - real.mean())", "advantages"),
        Mistake(
            "You divide by the variance, not by its root.",
            "(real.var(correction=0) + 1e-8).sqrt()",
            "(real.var(correction=0) + 1e-8)",
        ),
        Mistake(
            "You multiply by the mask; 0 · NaN is NaN.",
            "torch.where(mask, whitened, 0.0)",
            "whitened * mask",
        ),
        Mistake(
            "Your padding is not 0.",
            "torch.where(mask, whitened, 0.0)",
            "whitened",
        ),
    ],
)
def whitened_over(advantages: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Advantages (B, R) with mean 0 and variance 1 over the mask, (B, R)."""
    real = advantages[mask]
    whitened = (advantages - real.mean()) / (real.var(correction=0) + 1e-8).sqrt()
    return torch.where(mask, whitened, 0.0)


# --------------------------------------------------------------------------------------------- GAE


def _rewards_and_values(draw):
    def of(lengths, n, junk=0.0):
        mask = np.arange(n) < np.array(lengths)[:, None]
        shape = (len(lengths), n)
        return *(np.where(mask, draw.array(*shape), junk) for _ in range(2)), mask

    yield Case("one token", *of([1], 1), 1.0, 0.95)
    yield Case("λ = 0", *of([4], 4), 0.9, 0.0)
    yield Case("λ = 1", *of([4], 4), 1.0, 1.0)
    yield Case("two lengths", *of([5, 2], 5), 1.0, 0.95)
    yield Case("junk in the padding", *of([3, 1, 5], 5, junk=9.0), 0.9, 0.7)
    yield Case("NaN in the padding", *of([2, 4], 4, junk=float("nan")), 1.0, 0.95)


@exercise(
    title="Generalised advantage estimation",
    minutes=30,
    statement=r"""
    From `rewards` and `values`, both $(B, R)$, work out the advantages from the last token to the
    first, $\delta_t = r_t + \gamma V_{t+1} - V_t$ and $A_t = \delta_t + \gamma\lambda A_{t+1}$.
    Replies have different lengths (`mask`, $(B, R)$). Behind the last token of a reply there is no
    value and no advantage, whatever the arrays hold there; in the padding the result is 0.
    """,
    hints=[
        "Set the values in the padding to 0 first. Then the last token needs no case of its own.",
        "Go through the columns backwards and carry the next advantage and the next value along.",
    ],
    cases=_rewards_and_values,
    returns="B R",
    equivalent={
        "`np.zeros_like(rewards)` → `np.ones_like(rewards)`": "every number is written over",
    },
    pipeline="""
    from aigc_lab.alignment.actor import ActorCritic
    from aigc_lab.alignment.ppo import PPOSettings, ppo_optimizer, ppo_step
    from aigc_lab.alignment.replies import make_reply_batch
    from aigc_lab.alignment.rollout import Samples
    from aigc_lab.models.gpt import GPT, GPTConfig

    prompts, replies = [[1, 2], [3], [4, 5, 6]], [[7, 8, 9], [5], [6, 6]]
    batch = make_reply_batch(prompts, replies, 16)
    samples = Samples([None] * 3, batch, [""] * 3, torch.tensor([True, True, False]))


    def learn():
        torch.manual_seed(0)
        config = GPTConfig.llama(12, context_length=16, d_model=16, n_layers=1, n_heads=2)
        reference, settings = GPT(config).eval(), PPOSettings(minibatch_size=2)
        actor = ActorCritic(GPT(config))
        scores, chance = torch.tensor([1.0, -1.0, 2.0]), torch.Generator().manual_seed(0)
        optimizer = ppo_optimizer(actor, settings)
        ppo_step(actor, reference, optimizer, samples, scores, settings, chance)
        return actor.policy.embedding.weight.detach()


    def yours_in_torch(rewards, values, mask, gamma, lam):
        arrays = rewards.double().numpy(), values.double().numpy(), mask.numpy()
        return torch.tensor(gae(*arrays, gamma, lam), dtype=rewards.dtype)


    book = learn()
    with swap("aigc_lab.alignment.ppo.advantages_of", yours_in_torch) as swapped:
        yours = learn()
    print(f"your function ran {swapped.calls} time, in a whole step of PPO")
    assert swapped.calls == 1 and torch.allclose(book, yours, atol=1e-5)
    """,
    mistakes=[
        Mistake(
            "What stands in the padding leaks into the advantages of the last token.",
            "values = np.where(mask, values, 0.0)",
            "values = np.nan_to_num(values, nan=5.0)",
        ),
        Mistake(
            "You did not look at the mask: behind its last token a reply still has values.",
            "values = np.where(mask, values, 0.0)",
            "values = 1.0 * values",
        ),
        Mistake(
            "You used no mask at all: what stands in the padding counts as part of the reply.",
            "values = np.where(mask, values, 0.0)",
            "mask = np.ones_like(mask)",
        ),
        Mistake(
            "You forgot λ: every token is blamed for all that follows.",
            "gamma * lam * following",
            "gamma * following",
        ),
        Mistake("You forgot γ before the next advantage.", "gamma * lam * f", "lam * f"),
        Mistake(
            "You forgot to take the value of the token itself away: those are no advantages.",
            " - values[:, t]",
            "",
        ),
        Mistake(
            "You go from the first token to the last; the advantage of a token needs the next one.",
            "reversed(range(rewards.shape[1]))",
            "range(rewards.shape[1])",
        ),
        Mistake(
            "You left the next value out: with λ = 0 a token is not told what it made likely.",
            "rewards[:, t] + gamma * next_value - ",
            "rewards[:, t] - ",
        ),
    ],
)
def gae(
    rewards: np.ndarray, values: np.ndarray, mask: np.ndarray, gamma: float, lam: float
) -> np.ndarray:
    """Advantages (B, R), 0 in the padding."""
    values = np.where(mask, values, 0.0)
    advantages = np.zeros_like(rewards)
    following = next_value = np.zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = np.where(mask[:, t], delta + gamma * lam * following, 0.0)
        advantages[:, t] = following
        next_value = values[:, t]
    return advantages


# ------------------------------------------------------------------------------------ clipped loss


def _ratios_and_advantages(draw):
    def of(ratios, advantages, mask=None):
        old = draw.tensor(1, len(ratios)) - 2
        mask = [True] * len(ratios) if mask is None else mask
        log_probs = old + torch.tensor([ratios]).log()
        return log_probs, old, torch.tensor([advantages]), torch.tensor([mask]), 0.2

    yield Case("ratio 1", *of([1.0, 1.0], [2.0, -1.0]))
    yield Case("good, and rose too far", *of([1.5], [1.0]))
    yield Case("good, and fell", *of([0.5, 1.0], [1.0, 0.5]))
    yield Case("bad, and fell too far", *of([0.5, 1.0], [-1.0, 0.5]))
    yield Case("bad, and rose", *of([1.5, 1.0], [-1.0, 0.5]))
    yield Case("padding with junk", *of([1.1, 3.0], [1.0, -9.0], [True, False]))
    yield Case("many", *of([0.7, 0.9, 1.1, 1.4, 0.5], [1.0, 2.0, -1.0, -2.0, 3.0]))
    old = draw.tensor(2, 3) - 2
    log_probs = old + torch.tensor([[1.1, 0.9, 1.3], [0.6, 1.0, 1.0]]).log()
    advantages = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    yield Case("a long and a short reply", log_probs, old, advantages, mask, 0.2)


@exercise(
    title="PPO's loss",
    minutes=15,
    statement=r"""
    Give PPO's loss: the mean over the real tokens (`mask`) of
    $-\min(\rho A,\ \mathrm{clip}(\rho, 1-\varepsilon, 1+\varepsilon) A)$, where $\rho$ is the new
    probability of a token over the one with which it was drawn. All tensors have shape $(B, R)$.
    """,
    hints=[
        "The ratio is the exponential of a difference of log-probabilities.",
        "`torch.minimum` takes the smaller of two tensors, number by number.",
    ],
    cases=_ratios_and_advantages,
    returns="loss: ",
    gradients="log_probs",
    mistakes=[
        Mistake(
            "You only clip, without the minimum: a bad token that became likelier by mistake, or "
            "a good one that fell, has no gradient and stays there.",
            "torch.minimum(ratio * advantages, clipped * advantages)",
            "clipped * advantages",
        ),
        Mistake(
            "You took the maximum: it counts what should not count any more.",
            "torch.minimum",
            "torch.maximum",
        ),
        Mistake("The sign: this makes good tokens less likely.", "return -", "return "),
        Mistake(
            "Your ratio is upside down: old over new.",
            "log_probs - old_log_probs",
            "old_log_probs - log_probs",
        ),
        Mistake(
            "You took the mean over the padding, too: advantages are not masked.",
            "gain[mask].mean()",
            "gain.mean()",
        ),
        Mistake(
            "You took the mean of each reply first: a token of a short reply counts for more.",
            "gain[mask].mean()",
            "((gain * mask).sum(1) / mask.sum(1)).mean()",
        ),
        Mistake(
            "You divided by the padding, too: the mean is over the real tokens.",
            "gain[mask].mean()",
            "(gain * mask).mean()",
        ),
        Mistake(
            "You did not clip: good tokens rise without end.",
            "ratio.clamp(1 - clip, 1 + clip)",
            "ratio",
        ),
    ],
)
def clipped_loss(
    log_probs: torch.Tensor,
    old_log_probs: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    clip: float,
) -> torch.Tensor:
    """PPO's loss, one number."""
    ratio = (log_probs - old_log_probs).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    gain = torch.minimum(ratio * advantages, clipped * advantages)
    return -gain[mask].mean()


# -------------------------------------------------------------------------------------- best of n


def _pools(draw):
    yield Case("one reply", np.array([0.3]), np.array([2.0]), 1)
    yield Case("n = 1", draw.array(5), draw.array(5), 1)
    yield Case("n = N", draw.array(4), draw.array(4), 4)
    yield Case("best of 2", draw.array(6), draw.array(6), 2)
    yield Case("best of 5", draw.array(12), draw.array(12), 5)
    proxy = draw.array(9)
    yield Case("gold is the opposite of the proxy", proxy, -proxy, 3)


@exercise(
    title="Best of n from a pool",
    minutes=30,
    statement=r"""
    A pool holds $N$ replies with their `proxy` and `gold` rewards, both $(N)$; no two proxy rewards
    are equal. Draw $n$ different ones, keep the one with the highest proxy: what is its gold
    reward, on average over all $\binom{N}{n}$ ways to draw? (Do not try them all.)
    `math.comb(a, b)` is $\binom{a}{b}$, and 0 where b > a.
    """,
    hints=[
        "Sort by proxy. In how many of the draws is the reply with `i` worse ones the best?",
        "The other n − 1 come from the i below it: `math.comb(i, n - 1)`.",
    ],
    cases=_pools,
    returns="gold: ",
    mistakes=[
        Mistake(
            "You sorted by gold; the choice is made by the proxy.",
            "np.argsort(proxy)",
            "np.argsort(gold)",
        ),
        Mistake(
            "You count from the best down: that is the worst of n.",
            "np.argsort(proxy)",
            "np.argsort(-proxy)",
        ),
        Mistake(
            "All n come from below in your count; the best itself is one of them.",
            "math.comb(i, n - 1)",
            "math.comb(i, n)",
        ),
        Mistake(
            "You draw with replacement: replies may come twice, so the estimate is biased.",
            "math.comb(i, n - 1) / math.comb(N, n)",
            "((i + 1) / N) ** n - (i / N) ** n",
        ),
    ],
)
def best_of_n_gold(proxy: np.ndarray, gold: np.ndarray, n: int) -> float:
    """Mean gold reward of the best of n by proxy."""
    import math

    N = len(proxy)
    order = np.argsort(proxy)
    weights = np.array([math.comb(i, n - 1) / math.comb(N, n) for i in range(N)])
    return float(weights @ gold[order])


# ----------------------------------------------------------------------------------- trust region


def _policies(draw):
    def of(n):
        raw = np.exp(draw.array(n))
        return raw / raw.sum(), draw.array(n)

    yield Case("two answers", np.array([0.5, 0.5]), np.array([1.0, -1.0]), 0.1)
    yield Case("a rare good one", np.array([0.9, 0.09, 0.01]), np.array([-0.1, 0.2, 2.0]), 0.2)
    yield Case("large advantages", *(x * s for x, s in zip(of(4), (1, 100), strict=True)), 0.05)
    yield Case("a tiny step", *of(5), 1e-4)
    yield Case("six answers", *of(6), 0.3)


@exercise(
    title="The best policy within a distance",
    minutes=40,
    statement=r"""
    Among $K$ replies with advantages $A$, $(K)$, find the policy with the largest
    $\sum_a \pi_a A_a$ and $\mathrm{KL}(\pi\|\pi^{\text{old}}) \le \delta$. Its form is
    $\pi \propto \pi^{\text{old}} e^{A/\eta}$; find $1/\eta$, between 0 and 1,000, by
    bisection: 200 halvings. (The sure choice of the best reply is further than δ.)
    """,
    hints=[
        "KL grows with 1/η. Too near? Then the lower bound may rise to the middle.",
        "`np.exp(pressure * (A - A.max()))` cannot overflow, and the constant cancels.",
        "Where probabilities have underflown to 0 they add nothing: 0 · log 0 = 0.",
    ],
    cases=_policies,
    returns="K",
    rtol=1e-4,
    equivalent={
        "`(0.0, 1000.0)` → `(0.0, 1001.0)`": "the bounds only have to hold the answer",
        "`(0.0, 1000.0)` → `(0.0, 999.0)`": "the bounds only have to hold the answer",
        "`range(200)` → `range(201)`": "the bounds have met long before",
        "`range(200)` → `range(199)`": "the bounds have met long before",
        "`kl < delta` → `kl <= delta`": "the bounds meet at the same place",
    },
    mistakes=[
        Mistake(
            "You forgot the old policy: the new one is a change of it.",
            "policy * np.exp(",
            "np.exp(",
        ),
        Mistake(
            "You measured KL(old‖new); that is TRPO's bound, and another solution belongs to it.",
            "(kept * np.log(kept / policy[new > 0])).sum()",
            "(policy[new > 0] * np.log(policy[new > 0] / kept)).sum()",
        ),
        Mistake("Your policy does not sum to 1.", "new = new / new.sum()", "new = 1.0 * new"),
        Mistake(
            "The bisection goes the wrong way: where the policy is too near, press harder.",
            "kl < delta",
            "kl > delta",
        ),
        Mistake(
            "You bounded the pressure 1/η itself by δ, not the distance.",
            "(low + high) / 2",
            "delta",
        ),
    ],
)
def best_within(policy: np.ndarray, advantages: np.ndarray, delta: float) -> np.ndarray:
    """Probabilities (K,) of the best policy with KL(new‖old) = delta."""
    low, high = 0.0, 1000.0
    for _ in range(200):
        pressure = (low + high) / 2
        new = policy * np.exp(pressure * (advantages - advantages.max()))
        new = new / new.sum()
        kept = new[new > 0]
        kl = (kept * np.log(kept / policy[new > 0])).sum()
        low, high = (pressure, high) if kl < delta else (low, pressure)
    return new


# ----------------------------------------------------------------------------- PPO without autograd


def _bandit_draws(draw):
    def of(K, N, far):
        theta = draw.array(K)
        chosen = np.array(draw.integers(0, K, N))
        return theta + far * draw.array(K), theta, chosen, draw.array(N)

    yield Case("nothing has moved", *of(4, 6, 0.0), 0.2)
    yield Case("one draw", *of(3, 1, 0.1), 0.2)
    yield Case("a little further", *of(4, 12, 0.2), 0.2)
    yield Case("far away", *of(5, 20, 1.5), 0.2)
    yield Case("a wide clip", *of(5, 20, 1.0), 0.6)


@exercise(
    title="PPO by hand",
    minutes=75,
    statement=r"""
    The policy is a softmax of $K$ logits $\theta$. From `old_theta` $N$ replies were drawn:
    `chosen` $(N)$ holds their numbers, `rewards` $(N)$ what they got. Advantages are the
    rewards less their mean. Give the gradient of PPO's objective (what is *maximised*: the mean of
    $\min(\rho A, \mathrm{clip}(\rho, 1 \pm \varepsilon) A)$) with respect to `theta`, $(K)$,
    without autograd.
    """,
    hints=[
        "The derivative of ρ is ρ ∇ log π, and ∇ log π of reply a is e_a − π.",
        "Where does a draw count? Everywhere but where its ratio has left the clip in the "
        "direction in which its advantage pushes.",
        "So: A > 0 counts while ρ < 1 + ε, A < 0 while ρ > 1 − ε.",
    ],
    cases=_bandit_draws,
    returns="K",
    equivalent={
        "`ratio < 1 + clip` → `ratio <= 1 + clip`": "no ratio lies on the edge",
        "`ratio > 1 - clip` → `ratio >= 1 - clip`": "no ratio lies on the edge",
        "`advantages > 0` → `advantages >= 0`": "an advantage of 0 has no gradient",
    },
    mistakes=[
        Mistake(
            "You leave out every draw whose ratio is outside the clip. Those that went the wrong "
            "way must be pushed back: that is what the minimum is for.",
            "np.where(advantages > 0, ratio < 1 + clip, ratio > 1 - clip)",
            "(ratio < 1 + clip) & (ratio > 1 - clip)",
        ),
        Mistake(
            "You forgot the ratio: the derivative of ρ is ρ ∇ log π.",
            "weights = counts * ratio * advantages",
            "weights = counts * advantages",
        ),
        Mistake("You do not clip at all.", "counts * ratio", "ratio"),
        Mistake(
            "You forgot the baseline: the rewards' mean has to be taken away.",
            "rewards - rewards.mean()",
            "rewards",
        ),
        Mistake(
            "Your ∇ log π lacks − π: what one reply gains the others lose.",
            "np.eye(len(theta))[chosen] - policy",
            "np.eye(len(theta))[chosen]",
        ),
        Mistake(
            "Your ratio is upside down.",
            "policy[chosen] / old[chosen]",
            "old[chosen] / policy[chosen]",
        ),
        Mistake("You took the sum over the draws.", ".mean(axis=0)", ".sum(axis=0)"),
    ],
)
def ppo_gradient(
    theta: np.ndarray, old_theta: np.ndarray, chosen: np.ndarray, rewards: np.ndarray, clip: float
) -> np.ndarray:
    """Gradient (K,) of PPO's objective with respect to theta."""
    policy, old = (np.exp(x - x.max()) / np.exp(x - x.max()).sum() for x in (theta, old_theta))
    ratio = policy[chosen] / old[chosen]
    advantages = rewards - rewards.mean()
    counts = np.where(advantages > 0, ratio < 1 + clip, ratio > 1 - clip)
    weights = counts * ratio * advantages
    return (weights[:, None] * (np.eye(len(theta))[chosen] - policy)).mean(axis=0)


# --------------------------------------------------------------------------------------- questions

passes_all_checks = question(
    "passes_all_checks",
    title="Why the bug passes the first checks",
    minutes=10,
    statement=r"""
    In a program for RLHF the slice of the logits begins one column late, everywhere. At the first
    step KL to the reference is 0, all ratios are 1 and the clip fraction is 0, as they should be.
    Why? Name two measurements that would have shown the mistake, and say what they would show.
    """,
    answer=r"""
    KL and ratios compare two log-probabilities that were worked out by the same wrong slice: of the
    policy and of a reference with the same weights, and of the policy before and after no update.
    What is wrong in both cancels. The mistake shows wherever the slice meets something that was
    computed in another way. First, the log-probabilities with which the tokens were drawn, from the
    cache: they differ from those of the training pass by several nats. Second, the
    mean of $-\log\pi$ of the drawn tokens beside the entropy: the entropy is some 0.6 nats, and the
    wrong "surprise" over 10, since each distribution is asked for a token that comes before it. (A
    third: train, and see that the reward does not rise. It costs the most.)
    """,
)

a_way_out = question(
    "a_way_out",
    title="A penalty as a way out",
    minutes=10,
    statement=r"""
    Replies that are cut off get a score of −1 in place of the reward model's. A team normalises its
    reward model to 0 ± 1 on the reference's replies and trains on difficult prompts, where nearly
    all replies score between −3 and −2. What will the policy learn, by which panels do you notice,
    and what would you change?
    """,
    answer=r"""
    Not to end. A reply that runs into the limit gets −1, which is better than anything the reward
    model gives. The advantage of every token that puts the end off is positive. The share that
    ended falls, the length rises towards the limit, and the mean score rises to −1 and stays there:
    the curve that everybody looks at goes up. Remedies: set the score of a missing end below what
    bad replies get (for instance the least score of the batch less a margin), or subtract a fixed
    amount from the reward model's score of the cut reply; normalise on replies to the prompts that
    are trained on; and watch the two panels.
    """,
)
