"""A vote: which of two answers somebody prefers."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aigc_lab.data.chat import Message
from aigc_lab.data.conversation_files import read_turns
from aigc_lab.data.preferences import checked_prompt, turns_of

CHOICES = ("a", "b", "tie", "skip")
_KEYS = {"vote": "vote_id", "pair": "pair_id", "a": "a", "b": "b"} | {
    name: name for name in ("choice", "left", "labeller", "time")
}


class VoteError(ValueError):
    """What is no vote, or a damaged file of votes; then the message names it and the line."""


class AlreadyJudgedError(VoteError):
    """A second vote of the same labeller on the same pair."""


def utc_now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Vote:
    """What somebody says about a pair of answers.

    Args:
        pair_id: of the pair.
        messages: pairs of role and text; the user's comes last.
        a, b: the two answers.
        choice: "a" or "b", whichever is better, "tie", or "skip".
        labeller: who says so.
        left: the answer that stood on the left, "a" or "b".
        time: when, in UTC, ISO 8601; by default now.
        vote_id: of this vote, by default a new one; a vote that is sent twice counts once.

    Raises:
        VoteError: a value that is none of these, or two answers that are the same.
        PreferenceError: messages that no answer can follow.
    """

    pair_id: str
    messages: tuple[Message, ...]
    a: str
    b: str
    choice: str
    labeller: str
    left: str
    time: str = field(default_factory=utc_now)
    vote_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", checked_prompt(self.messages))
        for name in ("a", "b", "pair_id", "labeller", "vote_id"):
            value = getattr(self, name)
            if not isinstance(value, str) or not (value or name in ("a", "b")):
                least = "" if name in ("a", "b") else " of at least one character"
                raise VoteError(f"{name}={value!r} must be a text{least}")
        if self.a == self.b:
            raise VoteError(f"a and b are both {self.a[:60]!r}: there is nothing to vote on")
        for name, allowed in (("choice", CHOICES), ("left", ("a", "b"))):
            if getattr(self, name) not in allowed:
                raise VoteError(f"{name}={getattr(self, name)!r} is not one of {allowed}")
        try:
            is_utc = datetime.fromisoformat(self.time).utcoffset() == UTC.utcoffset(None)
        except (TypeError, ValueError):
            is_utc = False
        if not is_utc:
            raise VoteError(
                f"time={self.time!r} is no time in UTC such as 2025-01-31T12:00:00+00:00"
            )

    def record(self) -> dict[str, Any]:
        """The vote as a JSON object."""
        record = {key: getattr(self, name) for key, name in _KEYS.items()}
        return record | {"messages": turns_of(self.messages)}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Vote":
        """The vote that a JSON object describes.

        Raises:
            VoteError, PreferenceError, ConversationError: it describes none.
        """
        if missing := [key for key in (*_KEYS, "messages") if key not in record]:
            raise VoteError(f"an object with the keys {sorted(record)} is no vote: no {missing}")
        values = {name: record[key] for key, name in _KEYS.items()}
        return cls(messages=tuple(read_turns(record["messages"])), **values)
