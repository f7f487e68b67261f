"""Direct preference optimisation: learning from comparisons without a reward model or sampling.

The best policy for a reward r at a price β of distance is known: π*(y|x) ∝ π_ref(y|x) exp(r/β). So
every policy is the best one for some reward, β log(π/π_ref) up to a constant of the prompt, and the
constant is the same for two replies to one prompt. Put this *implicit reward* into the
Bradley-Terry loss, and the policy can be trained as if it were the reward model:

    loss = −log σ(β [log π(chosen)/π_ref(chosen) − log π(rejected)/π_ref(rejected)])

Shapes: B pairs; log-probabilities of whole replies `(B,)`, sums over their tokens.

Sources: Rafailov et al. 2023 (DPO), Azar et al. 2024 (IPO), Mitchell 2023 (label smoothing: cDPO).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from aigc_lab.alignment.pairs import PairBatch
from aigc_lab.alignment.replies import reply_log_probs
from aigc_lab.models.gpt import GPT
from aigc_lab.models.modes import evaluation_mode

KINDS = ("sigmoid", "ipo")


@dataclass(frozen=True)
class DPOSettings:
    """Which loss.

    Args:
        beta: β, the price of a nat of distance from the reference; τ in IPO.
        kind: "sigmoid" for DPO, "ipo" for a square that stops pulling at a margin of 1/(2β).
        label_smoothing: share of the votes that are taken to be turned round; DPO only.
        per_token: means over the tokens of each reply in place of sums; IPO only, where the margin
            is otherwise met by long replies at once.

    Raises:
        ValueError: an unknown kind, a β not above 0, a share outside 0 to 0.5, or a setting with
            the kind that has no use for it.
    """

    beta: float = 0.1
    kind: str = "sigmoid"
    label_smoothing: float = 0.0
    per_token: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r} is not one of {KINDS}")
        if not self.beta > 0:
            raise ValueError(f"beta={self.beta} must be above 0: without a price there is no limit")
        if not 0 <= self.label_smoothing < 0.5:
            raise ValueError(
                f"label_smoothing={self.label_smoothing} must lie in 0 .. 0.5, 0.5 excluded: with "
                "half of the votes turned round there is nothing to learn"
            )
        if self.kind == "ipo" and self.label_smoothing:
            raise ValueError("label_smoothing is for kind='sigmoid': leave it out with 'ipo'")
        if self.kind == "sigmoid" and self.per_token:
            raise ValueError("per_token is for kind='ipo': DPO's derivation needs sums over tokens")


def dpo_loss(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    ref_chosen: torch.Tensor,
    ref_rejected: torch.Tensor,
    settings: DPOSettings,
) -> torch.Tensor:
    """The loss of each pair, `(B,)`.

    Args:
        chosen, rejected: log-probabilities of the replies under the policy, `(B,)`; sums over
            their tokens, or means where `settings.per_token` says so.
        ref_chosen, ref_rejected: the same under the reference; no gradient goes into them.
        settings: which loss.
    """
    margin = (chosen - ref_chosen.detach()) - (rejected - ref_rejected.detach())  # in nats
    if settings.kind == "ipo":
        return (margin - 1 / (2 * settings.beta)) ** 2
    right, wrong = F.logsigmoid(settings.beta * margin), F.logsigmoid(-settings.beta * margin)
    return -(1 - settings.label_smoothing) * right - settings.label_smoothing * wrong


def whole_log_probs(model: GPT, batch: PairBatch, per_token: bool = False) -> torch.Tensor:
    """log p of each reply of a batch of pairs, `(2B,)`: the chosen, then the rejected."""
    found = reply_log_probs(model, batch.replies).sum(1)
    return found / batch.replies.reply_mask.sum(1) if per_token else found


def dpo_loss_of(ref_model: GPT, settings: DPOSettings) -> Callable[[GPT, PairBatch], torch.Tensor]:
    """The loss summed over a batch of pairs: what `train` and `training_steps` take as loss.

    Args:
        ref_model: the policy before all training. It is not changed, and it must not be the same
            object as the policy: the loss would be ln 2 for ever.
        settings: which loss.
    """

    def loss(model: GPT, batch: PairBatch) -> torch.Tensor:
        if model is ref_model:
            raise ValueError("the policy is its own reference: give a copy (copy.deepcopy) of it")
        with torch.no_grad(), evaluation_mode(ref_model):
            ref = whole_log_probs(ref_model, batch, settings.per_token)
        log_probs = whole_log_probs(model, batch, settings.per_token)
        return dpo_loss(*log_probs.chunk(2), *ref.chunk(2), settings).sum()

    return loss


@torch.no_grad()
def pair_numbers(
    model: GPT, ref_model: GPT, batches: Iterable[PairBatch], beta: float
) -> dict[str, float]:
    """What to look at while DPO trains: means over pairs.

    Returns:
        "chosen" and "rejected": log(π/π_ref) of whole replies in nats, so 0 at the start and below
        0 for a reply that has become less likely; "margin": the difference of their implicit
        rewards; "right": share of pairs with a margin above 0.
    """
    rows = []
    with evaluation_mode(model), evaluation_mode(ref_model):
        for batch in batches:
            moved = whole_log_probs(model, batch) - whole_log_probs(ref_model, batch)
            rows.append(torch.stack(moved.chunk(2), dim=1))
    chosen, rejected = torch.cat(rows).unbind(1)
    return {
        "chosen": chosen.mean().item(),
        "rejected": rejected.mean().item(),
        "margin": beta * (chosen - rejected).mean().item(),
        "right": (chosen > rejected).float().mean().item(),
    }
