"""Talking with a model that knows the chat template of `aigc_lab.data.chat`."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from aigc_lab.data.chat import END, Message, decode_reply, encode_prompt
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.generation.complete import complete_ids
from aigc_lab.generation.generate import stream_text
from aigc_lab.generation.sampling import Sampling
from aigc_lab.models.gpt import GPT

REPLY_TOKENS = 100  # room for the longest reply of the tiny world


class Reply(NamedTuple):
    """What a model replied, and whether it ended its reply itself."""

    text: str
    has_ended: bool


def replies(
    model: GPT,
    tokenizer: Tokenizer,
    conversations: Sequence[Sequence[Message]],
    sampling: Sampling | None = None,
    *,
    max_new_tokens: int = REPLY_TOKENS,
    generator: torch.Generator | None = None,
    batch_size: int = 64,
) -> list[Reply]:
    """The model's next reply in each conversation.

    Args:
        model, tokenizer: that know the template.
        conversations: messages, of which the last is the user's.
        sampling: how tokens are chosen; by default plain sampling.
        max_new_tokens: after which a reply is cut off; it is also cut off where the context ends.
        generator: source of chance.
        batch_size: so many at once.

    Raises:
        ConversationError: a conversation in which it is not the assistant's turn.
        ValueError: one that leaves no room for a reply in the context.
    """
    prompts = [encode_prompt(tokenizer, messages) for messages in conversations]
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    special = tokenizer.special_tokens
    written: list[list[int]] = []
    for first in range(0, len(order), batch_size):
        some = [prompts[number] for number in order[first : first + batch_size]]
        room = model.config.context_length + 1 - max(map(len, some))
        written += complete_ids(
            model,
            some,
            min(max_new_tokens, max(room, 1)),
            sampling,
            stop_tokens=set(special.values()),
            generator=generator,
        )
    found = dict(zip(order, written, strict=True))
    return [
        Reply(decode_reply(tokenizer, found[number]), found[number][-1:] == [special[END]])
        for number in range(len(prompts))
    ]


class Chat:
    """A conversation that goes on.

    Args:
        model, tokenizer: that know the template.
        system: the system message, or "".
        sampling: how tokens are chosen; by default plain sampling.
        max_new_tokens: of a reply.
        seed: of the chance.
    """

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        system: str = "",
        sampling: Sampling | None = None,
        *,
        max_new_tokens: int = REPLY_TOKENS,
        seed: int = 0,
    ):
        self.model, self.tokenizer = model, tokenizer
        self.sampling, self.max_new_tokens = sampling, max_new_tokens
        self.generator = torch.Generator().manual_seed(seed)
        self.messages: list[Message] = [("system", system)] if system else []
        self.n_forgotten = 0  # messages that no longer fit into the context

    def say(self, text: str) -> Iterator[str]:
        """Say something to the assistant; yields its reply in pieces, as they are written.

        Where the conversation has become too long, the oldest turns are forgotten, never the
        system message. A reply that is broken off stays in the conversation as far as it came.

        Raises:
            ValueError: the text alone is too long for the context; the conversation is unchanged.
        """
        messages = self._shortened([*self.messages, ("user", text)])
        self.n_forgotten += len(self.messages) + 1 - len(messages)
        self.messages = [*messages, ("assistant", "")]
        prompt = encode_prompt(self.tokenizer, messages)
        pieces = stream_text(
            self.model,
            self.tokenizer,
            prompt,
            self.max_new_tokens,
            self.sampling,
            # A mark of another role would be no text of this one.
            stop_tokens=set(self.tokenizer.special_tokens.values()),
            generator=self.generator,
        )
        said = ""
        for piece in pieces:
            piece = piece if said else piece.removeprefix(" ")
            said += piece
            self.messages[-1] = ("assistant", said)
            yield piece

    def _shortened(self, messages: list[Message]) -> list[Message]:
        """The messages without as many of the oldest turns as do not fit."""
        room = self.model.config.context_length - self.max_new_tokens
        first = 1 if messages[0][0] == "system" else 0
        n_tokens = len(encode_prompt(self.tokenizer, messages))
        while n_tokens > room and len(messages) > first + 1:
            messages = messages[:first] + messages[first + 2 :]
            n_tokens = len(encode_prompt(self.tokenizer, messages))
        if n_tokens > room:
            what = "the system message and this one have" if first else "this message has"
            raise ValueError(
                f"{what} {n_tokens} tokens with the marks around them, and there is room for "
                f"{room} beside a reply of {self.max_new_tokens}: say it in fewer words"
            )
        return messages
