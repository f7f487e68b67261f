"""Learning a reward from comparisons: the Bradley-Terry model with a network for the strengths.

    P(chosen is preferred) = σ(r(chosen) − r(rejected))

Sources: Bradley and Terry 1952, Christiano et al. 2017, Stiennon et al. 2020; margins: Touvron et
al. 2023 (LLaMA 2).
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from aigc_lab.alignment.labellers import Labeller, Pair, chances, share_foreseen
from aigc_lab.alignment.pairs import PairBatch, PairSource
from aigc_lab.alignment.replies import make_reply_batch
from aigc_lab.alignment.rollout import Samples
from aigc_lab.data.chat import Message, encode_prompt, encode_reply
from aigc_lab.data.preferences import Preference
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.models.gpt import GPT
from aigc_lab.models.modes import evaluation_mode
from aigc_lab.models.reward_model import RewardConfig, RewardModel
from aigc_lab.models.starting import start_from
from aigc_lab.training.loop import training_steps
from aigc_lab.training.optimizers import make_optimizers
from aigc_lab.training.run_folder import TrainSettings


def pairwise_loss(
    chosen: torch.Tensor, rejected: torch.Tensor, margins: torch.Tensor | float = 0.0
) -> torch.Tensor:
    """−log σ(r_chosen − r_rejected − margin), in nats: `(B,)` from scores `(B,)`.

    With a margin the chosen reply must be better by so much before the loss is below ln 2.
    """
    return -F.logsigmoid(chosen - rejected - margins)


def loss_of_pairs(model: RewardModel, batch: PairBatch) -> torch.Tensor:
    """The pairwise loss summed over a batch: what `train` and `training_steps` take as loss."""
    scores = model(batch.replies.tokens, batch.replies.attention_mask)  # (2B,)
    chosen, rejected = scores.chunk(2)
    return pairwise_loss(chosen, rejected, batch.margins).sum()


@dataclass(frozen=True)
class RewardSettings:
    """How to train a reward model.

    Args:
        n_epochs: passes over the comparisons; more than two or three learn their noise by heart.
        batch_size: pairs of an update.
        lr, muon_lr: highest learning rates; the first tenth of the updates rises to them.
    """

    n_epochs: float = 2.0
    batch_size: int = 32
    lr: float = 1e-3
    muon_lr: float = 1e-3


def new_reward_model(start: GPT) -> RewardModel:
    """A reward model with the body of another model and a new head."""
    model = RewardModel(RewardConfig(**dataclasses.asdict(start.config)))
    start_from(model, start)
    return model


def train_reward_model(
    start: GPT,
    tokenizer: Tokenizer,
    preferences: Sequence[Preference],
    settings: RewardSettings | None = None,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
) -> RewardModel:
    """A reward model that learned from preferences.

    Args:
        start: the model whose body it begins with, which stays as it is.
        tokenizer: its tokenizer.
        preferences: at least as many as a batch has.
        settings: how.
        seed: of the new head and of the order.
        on_step: told the number of each update and the loss before it, in nats for each pair.

    Raises:
        ValueError: too few preferences, or one that is longer than the context.
        FloatingPointError: a loss that is not finite.
    """
    settings = settings or RewardSettings()
    torch.manual_seed(seed)
    model = new_reward_model(start)
    source = PairSource(
        tokenizer, preferences, start.config.context_length, settings.batch_size, seed
    )
    optimizers = make_optimizers(model, settings.lr, muon=True, muon_lr=settings.muon_lr)
    n_steps = max(1, round(settings.n_epochs * source.batches_per_epoch))
    training = TrainSettings(n_steps, n_warmup=n_steps // 10)
    for progress, loss in training_steps(model, optimizers, source, training, loss_of_pairs):
        if on_step is not None:
            on_step(progress.step, loss)
    return model


@torch.no_grad()
def score_replies(
    models: RewardModel | Sequence[RewardModel],
    tokenizer: Tokenizer,
    conversations: Sequence[Sequence[Message]],
    texts: Sequence[str],
    batch_size: int = 256,
) -> torch.Tensor:
    """Scores of replies.

    Args:
        models: one reward model, or several: an ensemble.
        tokenizer: theirs.
        conversations: messages up to the user's, for each reply.
        texts: the replies.
        batch_size: so many at once.

    Returns:
        `(N,)`, or for a list of M models `(M, N)`.

    Raises:
        ValueError: not one conversation for each reply, no replies, or one that is too long.
    """
    if not texts or len(conversations) != len(texts):
        raise ValueError(
            f"{len(conversations)} conversations and {len(texts)} replies: give one conversation "
            "for each reply, and at least one"
        )
    one = isinstance(models, nn.Module)
    ensemble = [models] if one else list(models)
    parts = []
    for first in range(0, len(texts), batch_size):
        some = slice(first, first + batch_size)
        batch = make_reply_batch(
            [encode_prompt(tokenizer, messages) for messages in conversations[some]],
            [encode_reply(tokenizer, text) for text in texts[some]],
            ensemble[0].config.context_length,
        )
        scores = []
        for model in ensemble:
            with evaluation_mode(model):
                scores.append(model(batch.tokens, batch.attention_mask))
        parts.append(torch.stack(scores))
    scores = torch.cat(parts, dim=1)
    return scores[0] if one else scores


@torch.no_grad()
def score_samples(model: RewardModel, samples: Samples, batch_size: int = 256) -> torch.Tensor:
    """Scores `(B,)` of replies that a policy has just written, from their own tokens.

    A text that is encoded anew may be cut into other tokens than those that were written.
    """
    with evaluation_mode(model):
        batches = [
            samples.batch.rows(r) for r in torch.arange(len(samples.texts)).split(batch_size)
        ]
        return torch.cat([model(batch.tokens, batch.attention_mask) for batch in batches])


def score_differences(
    models: RewardModel | Sequence[RewardModel], tokenizer: Tokenizer, pairs: Sequence[Pair]
) -> torch.Tensor:
    """Score of the first reply minus that of the second: `(N,)`, or `(M, N)` for M models."""
    conversations = [pair.prompt.messages for pair in pairs]
    first, second = (
        score_replies(models, tokenizer, conversations, [getattr(pair, name) for pair in pairs])
        for name in ("first", "second")
    )
    return first - second


def expected_accuracy(
    model: RewardModel, tokenizer: Tokenizer, pairs: Sequence[Pair], labeller: Labeller
) -> float:
    """Share of a labeller's votes that a reward model foresees, averaged over the votes' chance."""
    differences = score_differences(model, tokenizer, pairs)
    return share_foreseen(differences.numpy(), chances(pairs, labeller))
