"""The chat template: a conversation as one row of tokens.

    <|endoftext|> <|system|> text <|end|> <|user|> text <|end|> <|assistant|> text <|end|> ...

The marks of the roles are special tokens, put in by number. Text is always encoded as ordinary
characters, so that nobody can forge a mark by typing it. Each text gets a space in front, because
most of the tokenizer's words have one; it is taken away from replies.
"""

from collections.abc import Sequence

from aigc_lab.data.tokenizer import Tokenizer

START = "<|endoftext|>"
SYSTEM, USER, ASSISTANT, END = CHAT_TOKENS = (
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
)
MARKS = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}

Message = tuple[str, str]  # role and text


class ConversationError(ValueError):
    """Messages that are no conversation; the message says which one and why."""


def make_chat_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """A base model's tokenizer with the marks of the template, whose ids come last."""
    return tokenizer.with_special_tokens(CHAT_TOKENS)


def encode_conversation(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Ids of a conversation, without the start token.

    Args:
        tokenizer: with the marks.
        messages: perhaps one of the system, then user and assistant in turns.

    Raises:
        ConversationError: the roles are not in this order, or a text is no string.
        ValueError: a tokenizer without the marks.
    """
    check_conversation(messages)
    _check_marks(tokenizer)
    ids: list[int] = []
    for role, text in messages:
        ids.append(tokenizer.special_tokens[MARKS[role]])
        ids += tokenizer.encode(" " + text)
        ids.append(tokenizer.special_tokens[END])
    return ids


def encode_prompt(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Ids after which a model writes the assistant's next reply, start token included.

    Raises:
        ConversationError: the last message is not the user's.
    """
    if messages and messages[-1][0] != "user":
        raise ConversationError(
            f"the last message is of the {messages[-1][0]}: a reply can only follow the user's"
        )
    ids = encode_conversation(tokenizer, messages)
    special = tokenizer.special_tokens
    return [special[START], *ids, special[ASSISTANT]]


def encode_reply(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a reply as a model writes it after `encode_prompt`: the text and its end."""
    return [*tokenizer.encode(" " + text), tokenizer.special_tokens[END]]


def decode_reply(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text of a reply that a model wrote, up to the first mark, without the space in front."""
    marks = set(tokenizer.special_tokens.values())
    n_said = next((place for place, token in enumerate(ids) if token in marks), len(ids))
    return tokenizer.decode(ids[:n_said]).removeprefix(" ")


def in_replies(ids: Sequence[int], tokenizer: Tokenizer) -> list[bool]:
    """Whether each token of a conversation belongs to what the assistant says.

    The end of a reply belongs to it: a model must learn to stop. The mark in front does not: it is
    the program that gives the assistant the word.

    Args:
        ids: of `encode_conversation`, n of them.
        tokenizer: with the marks.

    Returns:
        n + 1 truth values: for each token, and for one that may follow the conversation.
    """
    special = tokenizer.special_tokens
    begins, end = special[ASSISTANT], special[END]
    found, is_reply = [], False
    for token in ids:
        found.append(is_reply)
        if token == begins:
            is_reply = True
        elif token == end:
            is_reply = False
    return [*found, False]


def check_conversation(messages: Sequence[Message]) -> None:
    """Raise ConversationError unless the messages are a conversation."""
    if not messages:
        raise ConversationError("there are no messages: a conversation has at least one")
    after_system = messages[1:] if messages[0][0] == "system" else messages
    if not after_system:
        raise ConversationError("there is a system message only: a user has to say something")
    offset = len(messages) - len(after_system)
    for number, (role, text) in enumerate(messages):
        if role not in MARKS:
            raise ConversationError(
                f"message {number} has role {role!r}; roles are {', '.join(MARKS)}"
            )
        if not isinstance(text, str):
            raise ConversationError(f"message {number} has {text!r} in place of a text")
        expected = ("user", "assistant")[(number - offset) % 2] if number >= offset else "system"
        if role != expected:
            raise ConversationError(
                f"message {number} is of the {role} where the {expected} should speak: a system "
                "message may come first, then user and assistant take turns"
            )


def _check_marks(tokenizer: Tokenizer) -> None:
    missing = [name for name in (START, *CHAT_TOKENS) if name not in tokenizer.special_tokens]
    if missing:
        raise ValueError(
            f"the tokenizer lacks the special tokens {missing}: use make_chat_tokenizer"
        )
