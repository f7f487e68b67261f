"""Real conversations in the usual file formats.

messages    {"messages": [{"role": "user", "content": "..."}, ...]}         (OpenAI, Hugging Face)
ShareGPT    {"conversations": [{"from": "human", "value": "..."}, ...]}
Alpaca      {"instruction": "...", "input": "...", "output": "..."}         (Taori et al. 2023)

A file holds either one JSON object per line (JSONL) or one JSON list of them; each object may be
in another format.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aigc_lab.data.chat import ConversationError, Message, check_conversation

SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
# An instruction and its input as one message.
ALPACA_INPUT = "{instruction}\n\n{input}"


class ConversationFileError(ValueError):
    """A file that does not hold conversations; the message names the file and the line."""


def load_conversations(path: str | Path) -> list[list[Message]]:
    """The conversations of a file, as pairs of role and text.

    Raises:
        ConversationFileError: broken JSON, an object in none of the formats, or messages that are
            no conversation; names the file and the line, and nothing is left out silently.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    found = []
    for line, record in _records(path):
        try:
            messages = _messages(record)
            check_conversation(messages)
        except ConversationError as error:
            raise ConversationFileError(f"{path}, line {line}: {error}") from None
        found.append(messages)
    if not found:
        raise ConversationFileError(f"{path} holds no conversation: the file is empty")
    return found


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    """Every JSON value of a list, or of the lines, with the line on which it begins."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConversationFileError(
            f"{path} is not UTF-8 (byte {error.start}): convert it first"
        ) from None
    start = len(text) - len(text.lstrip())
    is_list = text[start : start + 1] == "["
    place, decoder = start + is_list, json.JSONDecoder()
    while True:
        place = _skip(text, place, " \t\r\n," if is_list else " \t\r\n")
        if place == len(text) or (is_list and text[place] == "]"):
            break
        line = text.count("\n", 0, place) + 1
        try:
            record, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise ConversationFileError(
                f"{path}, line {error.lineno}: {error.msg} at column {error.colno}; the object "
                f"begins on line {line}"
            ) from None
        yield line, record
    if is_list and place == len(text):
        raise ConversationFileError(f"{path} begins with '[' and has no ']': it was cut short")
    if is_list and (after := _skip(text, place + 1, " \t\r\n")) < len(text):
        line = text.count("\n", 0, after) + 1
        raise ConversationFileError(
            f"{path}, line {line}: there is more after the ']' that ends the list: one file holds "
            "one list, or objects without brackets around them"
        )


def _skip(text: str, place: int, characters: str) -> int:
    while place < len(text) and text[place] in characters:
        place += 1
    return place


def _messages(record: Any) -> list[Message]:
    if not isinstance(record, dict):
        raise ConversationError(f"{str(record)[:40]!r} is no JSON object")
    if "messages" in record:
        return _turns(record["messages"], "role", "content", lambda role: role)
    if "conversations" in record:
        return _turns(record["conversations"], "from", "value", _sharegpt_role)
    if "instruction" in record and "output" in record:
        texts = {name: record.get(name, "") for name in ("instruction", "input", "output")}
        for name, text in texts.items():
            if not isinstance(text, str):
                raise ConversationError(f"{name!r} is {text!r} and not a text")
        user = ALPACA_INPUT.format(**texts) if texts["input"] else texts["instruction"]
        return [("user", user), ("assistant", texts["output"])]
    raise ConversationError(
        f"an object with the keys {sorted(record)} is in no known format: it needs 'messages', "
        "'conversations', or 'instruction' and 'output'"
    )


def _turns(
    turns: Any, role_key: str, text_key: str, role_of: Callable[[str], str]
) -> list[Message]:
    if not isinstance(turns, list):
        raise ConversationError(f"{str(turns)[:40]!r} is no list of messages")
    found = []
    for number, turn in enumerate(turns):
        if not isinstance(turn, dict) or role_key not in turn or text_key not in turn:
            raise ConversationError(
                f"message {number} is {str(turn)[:60]!r}: it needs {role_key!r} and {text_key!r}"
            )
        if not isinstance(turn[role_key], str):
            raise ConversationError(
                f"message {number} has {role_key!r} {turn[role_key]!r}, which is not a text"
            )
        found.append((role_of(turn[role_key]), turn[text_key]))
    return found


def _sharegpt_role(name: str) -> str:
    if name not in SHAREGPT_ROLES:
        raise ConversationError(
            f"'from' is {name!r}; it must be one of {', '.join(SHAREGPT_ROLES)}"
        )
    return SHAREGPT_ROLES[name]
