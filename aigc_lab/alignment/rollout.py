"""Replies drawn from a policy, ready to be scored and learned from."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from aigc_lab.alignment.replies import ReplyBatch, make_reply_batch
from aigc_lab.data.chat import END, Message, decode_reply, encode_prompt
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.files import write_atomically
from aigc_lab.generation.complete import complete_ids
from aigc_lab.generation.sampling import Sampling
from aigc_lab.models.gpt import GPT
from aigc_lab.models.lora import merged_lora


class AnyPrompt(Protocol):
    """What is needed of a prompt; it may also hold what a reply is judged by."""

    @property
    def messages(self) -> Sequence[Message]:
        """The conversation up to where the assistant replies."""


@dataclass(frozen=True)
class Samples:
    """Replies to prompts.

    Attributes:
        prompts: one for each row.
        batch: tokens of prompts and replies.
        texts: of the replies.
        has_ended: boolean `(B,)`, whether a reply was ended by its writer and not cut off.
    """

    prompts: Sequence[AnyPrompt]
    batch: ReplyBatch
    texts: list[str]
    has_ended: torch.Tensor


# Scores `(B,)` of samples: a reward model, a rule, or both.
Reward = Callable[[Samples], torch.Tensor]


def sample_replies(
    policy: GPT,
    tokenizer: Tokenizer,
    prompts: Sequence[AnyPrompt],
    *,
    temperature: float = 1.0,
    max_new_tokens: int = 100,
    generator: torch.Generator | None = None,
) -> Samples:
    """Draw a reply to each prompt.

    Everything after the end of a reply is cut off before anybody scores it.

    Raises:
        ValueError: no prompts, or one that leaves no room for `max_new_tokens` in the context;
            names it.
    """
    encoded = [encode_prompt(tokenizer, prompt.messages) for prompt in prompts]
    _check_room(encoded, max_new_tokens, policy.config.context_length)
    special = tokenizer.special_tokens
    with merged_lora(policy):
        written = complete_ids(
            policy,
            encoded,
            max_new_tokens,
            Sampling(temperature=temperature),
            stop_tokens=set(special.values()),
            generator=generator,
            batch_size=len(encoded),
        )
    return Samples(
        prompts,
        make_reply_batch(encoded, written, policy.config.context_length),
        [decode_reply(tokenizer, ids) for ids in written],
        torch.tensor([ids[-1] == special[END] for ids in written]),
    )


def _check_room(encoded: list[list[int]], max_new_tokens: int, context_length: int) -> None:
    if not encoded:
        raise ValueError("there are no prompts: an empty list gets no replies")
    row = max(range(len(encoded)), key=lambda number: len(encoded[number]))
    if len(encoded[row]) + max_new_tokens > context_length:
        raise ValueError(
            f"prompt {row} has {len(encoded[row])} tokens, which leaves no room for a reply of "
            f"max_new_tokens={max_new_tokens} in the context of {context_length}: shorten it, "
            "leave it out, or allow shorter replies"
        )


def checked_scores(
    reward: Reward, samples: Samples, folder: Path | None = None, step: int = 0
) -> torch.Tensor:
    """The scores of samples, `(B,)`.

    Raises:
        ValueError: a reward that does not give one number for each sample.
        FloatingPointError: a score that is not finite. The samples are saved with their scores
            first, if there is a folder, so that it can be found out why.
    """
    scores = torch.as_tensor(reward(samples), dtype=torch.float32)
    if scores.shape != (len(samples.texts),):
        raise ValueError(
            f"the reward gave scores of shape {tuple(scores.shape)} for {len(samples.texts)} "
            "replies: it must give one number for each"
        )
    bad = (~scores.isfinite()).nonzero()[:, 0].tolist()
    if not bad:
        return scores
    where = ""
    if folder is not None:
        path = folder / f"bad_batch_{step}.jsonl"
        write_atomically(path, _as_lines(samples, scores).encode())
        where = f"; the batch is saved in {path}"
    raise FloatingPointError(
        f"the reward of reply {bad[0]} is {scores[bad[0]].item()} at step {step} ({len(bad)} of "
        f"{len(scores)} are not finite): {samples.texts[bad[0]][:60]!r}{where}. Mend the reward; "
        "the last checkpoint is good"
    )


def _as_lines(samples: Samples, scores: torch.Tensor) -> str:
    lines = [
        {"messages": list(prompt.messages), "reply": text, "score": str(score)}
        for prompt, text, score in zip(samples.prompts, samples.texts, scores.tolist(), strict=True)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)
