"""The famous bugs of RLHF, each as a context in which the book's code has it.

None of them is in the code itself: a wrong function takes the place of a right one, for a while.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn

from aigc_lab.alignment.actor import ActorCritic
from aigc_lab.alignment.gae import token_rewards
from aigc_lab.alignment.replies import ReplyBatch, make_reply_batch
from aigc_lab.alignment.rollout import sample_replies
from aigc_lab.data.chat import END
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.generation.complete import complete_ids
from aigc_lab.models.gpt import GPT
from aigc_lab.models.modes import evaluation_mode
from aigc_lab.swapping import swap


@contextlib.contextmanager
def off_by_one() -> Iterator[None]:
    """The logits of a column are taken for those of its own token, not of the next."""

    def forward(actor: ActorCritic, batch: ReplyBatch, temperature: float = 1.0):
        vectors = actor.policy.vectors(batch.tokens, attention_mask=batch.attention_mask)
        vectors = vectors[:, batch.n_prompt :]
        return actor.policy.head(vectors) / temperature, actor.value_head(vectors)[..., 0]

    def reply_logits(model: GPT, batch: ReplyBatch, temperature: float = 1.0):
        logits = model(batch.tokens, attention_mask=batch.attention_mask)
        return logits[:, batch.n_prompt :] / temperature

    with (
        swap("aigc_lab.alignment.actor.ActorCritic.forward", forward),
        swap("aigc_lab.alignment.replies.reply_logits", reply_logits),
    ):
        yield


@contextlib.contextmanager
def wrong_sign() -> Iterator[None]:
    """The distance from the reference is paid out, not charged."""

    def rewards(scores, kl, mask, kl_coefficient):
        return token_rewards(scores, -kl, mask, kl_coefficient)

    with swap("aigc_lab.alignment.gae.token_rewards", rewards):
        yield


@contextlib.contextmanager
def swapped_estimator() -> Iterator[None]:
    """k3 in place of k1 in the rewards, with policy and reference exchanged."""

    def rewards(scores, kl, mask, kl_coefficient):
        return token_rewards(scores, kl.exp() - 1 - kl, mask, kl_coefficient)

    with swap("aigc_lab.alignment.gae.token_rewards", rewards):
        yield


@contextlib.contextmanager
def dropout_on() -> Iterator[None]:
    """The policy learns in training mode; it still writes in evaluation mode."""

    def mode(model: nn.Module):
        if isinstance(model, ActorCritic):
            model.train()
            return contextlib.nullcontext()
        return evaluation_mode(model)

    with swap("aigc_lab.models.modes.evaluation_mode", mode):
        yield


def end_as_padding(end: int) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """What equals the padding token is masked, and the end of a reply is the padding token."""

    def batch_of(prompts, replies, context_length):
        batch = make_reply_batch(prompts, replies, context_length, pad_token=end)
        real = batch.tokens != end
        real[:, batch.n_prompt] = True  # a reply that is empty keeps its end
        return dataclasses.replace(batch, attention_mask=batch.attention_mask & real)

    return lambda: swap("aigc_lab.alignment.replies.make_reply_batch", batch_of)


@contextlib.contextmanager
def no_mask() -> Iterator[None]:
    """The padding behind short replies counts as part of them."""

    def batch_of(prompts, replies, context_length):
        batch = make_reply_batch(prompts, replies, context_length)
        mask = batch.attention_mask.clone()
        mask[:, batch.n_prompt :] = True
        return dataclasses.replace(batch, attention_mask=mask)

    with swap("aigc_lab.alignment.replies.make_reply_batch", batch_of):
        yield


def not_cut(end: int) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """The policy writes on after its end, and what it writes there is learned from."""

    def written(model, prompts, max_new_tokens, sampling, *, stop_tokens, **settings):
        return complete_ids(model, prompts, max_new_tokens, sampling, stop_tokens=(), **settings)

    def samples_of(policy, tokenizer, prompts, **settings):
        samples = sample_replies(policy, tokenizer, prompts, **settings)
        # Whether a reply has ended is asked of its last token, which is no end now: tell the truth.
        return dataclasses.replace(samples, has_ended=(samples.batch.replies == end).any(1))

    @contextlib.contextmanager
    def planted() -> Iterator[None]:
        with (
            swap("aigc_lab.generation.complete.complete_ids", written),
            swap("aigc_lab.alignment.rollout.sample_replies", samples_of),
        ):
            yield

    return planted


@dataclass(frozen=True)
class Bug:
    """A bug, and the settings with which it shows.

    Args:
        planted: gives a context in which the book's code has it.
        sampling_temperature: at which replies are drawn.
        temperature: that is told to PPO.
        dropout: of the policy.
    """

    planted: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    sampling_temperature: float = 1.0
    temperature: float = 1.0
    dropout: float = 0.0


def bugs(tokenizer: Tokenizer) -> dict[str, Bug]:
    """All of them by name, and two runs without any."""
    end = tokenizer.special_tokens[END]
    return {
        "none": Bug(),
        "none, at temperature 0.7": Bug(sampling_temperature=0.7, temperature=0.7),
        "log-probabilities off by one": Bug(off_by_one),
        "sign of the KL penalty": Bug(wrong_sign),
        "temperature missing in the update": Bug(sampling_temperature=0.7),
        "dropout on": Bug(dropout_on, dropout=0.1),
        "the end is padding": Bug(end_as_padding(end)),
        "padding is not masked": Bug(no_mask),
        "not cut after the end": Bug(not_cut(end)),
        "KL estimator swapped": Bug(swapped_estimator),
    }
