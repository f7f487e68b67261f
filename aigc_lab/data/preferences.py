"""Preferences: of two replies to the same conversation, which one is better.

Files come in the usual formats; `CHAT` below is a list of {"role": "...", "content": "..."}:

standard        {"prompt": "...", "chosen": "...", "rejected": "..."}
conversational  {"prompt": CHAT, "chosen": CHAT, "rejected": CHAT}    (TRL; one reply each)
implicit        {"chosen": CHAT, "rejected": CHAT}                    (TRL; whole conversations)
instruction     {"instruction": "...", "input": "...", "chosen": "...", "rejected": "..."}

Where there is a prompt, "chosen" and "rejected" may also be whole conversations that begin with it.
Each format may have a "system" text and a "margin"; other keys are of no concern here.
"""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigc_lab.data.chat import ConversationError, Message, check_conversation
from aigc_lab.data.conversation_files import ALPACA_INPUT, read_turns
from aigc_lab.data.json_records import json_line, read_records
from aigc_lab.files import write_atomically

IDENTICAL = ("error", "skip")


class PreferenceError(ValueError):
    """What is no preference; from a file, the message names it and the line."""


class IdenticalError(PreferenceError):
    """A preference between two replies that are the same."""


@dataclass(frozen=True)
class Preference:
    """Of two replies to a conversation, which one is better.

    Args:
        messages: pairs of role and text as in `aigc_lab.data.chat`; the user's comes last.
        chosen, rejected: the better and the worse reply.
        margin: how much better, at least 0, in the unit of whoever judged; None if unknown.

    Raises:
        PreferenceError: messages after which no reply can come, a reply that is no text, two
            replies that are the same (`IdenticalError`), or a margin below 0.
    """

    messages: tuple[Message, ...]
    chosen: str
    rejected: str
    margin: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", checked_prompt(self.messages))
        for name in ("chosen", "rejected"):
            if not isinstance(getattr(self, name), str):
                raise PreferenceError(
                    f"{name}={_short(getattr(self, name))} is no text: give the reply as a string"
                )
        if self.chosen == self.rejected:
            raise IdenticalError(
                f"chosen and rejected are both {_short(self.chosen)}: two replies that are the "
                "same show no preference; leave the pair out"
            )
        margin = self.margin
        is_number = isinstance(margin, int | float) and not isinstance(margin, bool)
        if margin is not None and not (is_number and 0 <= margin < math.inf):
            raise PreferenceError(
                f"margin={margin!r} must be a finite number from 0 up, or None where it is not "
                "known; where the rejected reply is the better one, exchange the two"
            )


def checked_prompt(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The messages as a tuple, if an assistant's reply can follow them.

    Raises:
        PreferenceError: no conversation, or the last message is not the user's.
    """
    try:
        checked = tuple((role, text) for role, text in messages)
        check_conversation(checked)
    except (ConversationError, TypeError, ValueError) as error:
        raise PreferenceError(
            f"messages={_short(messages)} are no conversation ({error}): give pairs of role and "
            "text"
        ) from None
    if checked[-1][0] != "user":
        raise PreferenceError(
            f"messages end with the {checked[-1][0]}'s {_short(checked[-1][1])}: end with the "
            "user's message, which both replies answer"
        )
    return checked


def load_preferences(path: str | Path, *, identical: str = "error") -> list[Preference]:
    """The preferences of a file, in any of the formats above, as JSONL or as one JSON list.

    Args:
        path: of the file.
        identical: what to do with pairs whose replies are the same: "error" raises, "skip" leaves
            them out and warns how many they were.

    Raises:
        PreferenceError: broken JSON, an object in none of the formats, or what `Preference`
            refuses; names the file and the line, and nothing else is left out.
        FileNotFoundError: there is no such file.
    """
    if identical not in IDENTICAL:
        raise ValueError(f"identical={identical!r} is not one of {IDENTICAL}")
    path, found, skipped = Path(path), [], []
    for line, record in read_records(path, PreferenceError):
        try:
            found.append(_preference(record))
        except IdenticalError as error:
            if identical == "error":
                raise PreferenceError(
                    f'{path}, line {line}: {error}, or load with identical="skip"'
                ) from None
            skipped.append(line)
        except ValueError as error:  # ConversationError too
            raise PreferenceError(f"{path}, line {line}: {error}") from None
    if skipped:
        warnings.warn(
            f"{path}: left out {len(skipped)} of {len(skipped) + len(found)} pairs, whose two "
            f"replies are the same (the first on line {skipped[0]})",
            stacklevel=2,
        )
    if not found:
        why = "no pair has two different replies" if skipped else "the file is empty"
        raise PreferenceError(f"{path} holds no preference: {why}")
    return found


def save_preferences(path: str | Path, preferences: Iterable[Preference]) -> None:
    """Write preferences as JSONL, which `load_preferences` reads, whole or not at all."""
    lines = []
    for preference in preferences:
        record = {
            "prompt": turns_of(preference.messages),
            "chosen": turns_of([("assistant", preference.chosen)]),
            "rejected": turns_of([("assistant", preference.rejected)]),
        }
        if preference.margin is not None:
            record["margin"] = preference.margin
        lines.append(json_line(record))
    write_atomically(path, b"".join(lines))


def turns_of(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Messages as JSON objects with "role" and "content"."""
    return [{"role": role, "content": text} for role, text in messages]


def prompt_of(record: dict[str, Any]) -> list[Message]:
    """The conversation that a record gives as "prompt", "messages", or "instruction"; maybe [].

    Raises:
        ConversationError, PreferenceError: it is neither a text nor a list of messages.
    """
    system = [("system", _text(record, "system"))] if record.get("system") else []
    if "instruction" in record:
        texts = {name: _text(record, name) for name in ("instruction", "input")}
        user = ALPACA_INPUT.format(**texts) if texts["input"] else texts["instruction"]
        return [*system, ("user", user)]
    name = "prompt" if "prompt" in record else "messages"
    prompt = record.get(name, [])
    if isinstance(prompt, str):
        return [*system, ("user", prompt)]
    return system + _turns(prompt, name)


def _preference(record: Any) -> Preference:
    if not isinstance(record, dict):
        raise PreferenceError(f"{_short(record)} is no JSON object")
    if missing := [name for name in ("chosen", "rejected") if name not in record]:
        raise PreferenceError(
            f"an object with the keys {sorted(record)} is no preference: it lacks {missing}"
        )
    prompt = prompt_of(record)
    if not ({"prompt", "messages", "instruction"} & set(record)):
        if not isinstance(record["chosen"], list):
            raise PreferenceError(
                f"an object with the keys {sorted(record)} has no prompt: give 'prompt', or "
                "'instruction', or 'chosen' and 'rejected' as lists of messages"
            )
        prompt += read_turns(record["chosen"])[:-1]
    chosen, rejected = (_reply(record, name, prompt) for name in ("chosen", "rejected"))
    return Preference(tuple(prompt), chosen, rejected, record.get("margin"))


def _reply(record: dict[str, Any], name: str, prompt: list[Message]) -> str:
    """The one reply of a record's "chosen" or "rejected", which may repeat the prompt."""
    value = record[name]
    if isinstance(value, str):
        return value
    turns = _turns(value, name)
    repeats = len(turns) > len(prompt) and turns[: len(prompt)] == prompt
    after = turns[len(prompt) :] if repeats else turns
    if len(after) == 1 and after[0][0] == "assistant":
        return after[0][1]
    raise PreferenceError(
        f"{name!r} has {len(turns)} messages with the roles {[role for role, _ in turns]}: it must "
        "be one reply of the assistant, alone or after the same messages as the prompt "
        f"({len(prompt)} of them)"
    )


def _turns(value: Any, name: str) -> list[Message]:
    if not isinstance(value, list):
        raise PreferenceError(f"{name!r} is {_short(value)}: neither a text nor a list of messages")
    return read_turns(value)


def _text(record: dict[str, Any], name: str) -> str:
    text = record.get(name) or ""
    if not isinstance(text, str):
        raise PreferenceError(f"{name!r} is {_short(text)} and not a text")
    return text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
