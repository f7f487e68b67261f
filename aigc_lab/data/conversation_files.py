"""Real conversations in the usual file formats.

messages    {"messages": [{"role": "user", "content": "..."}, ...]}         (OpenAI, Hugging Face)
ShareGPT    {"conversations": [{"from": "human", "value": "..."}, ...]}
Alpaca      {"instruction": "...", "input": "...", "output": "..."}         (Taori et al. 2023)

A file holds either one JSON object per line (JSONL) or one JSON list of them; each object may be
in another format.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aigc_lab.data.chat import ConversationError, Message, check_conversation
from aigc_lab.data.json_records import read_records

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
    for line, record in read_records(path, ConversationFileError):
        try:
            messages = _messages(record)
            check_conversation(messages)
        except ConversationError as error:
            raise ConversationFileError(f"{path}, line {line}: {error}") from None
        found.append(messages)
    if not found:
        raise ConversationFileError(f"{path} holds no conversation: the file is empty")
    return found


def _messages(record: Any) -> list[Message]:
    if not isinstance(record, dict):
        raise ConversationError(f"{str(record)[:40]!r} is no JSON object")
    if "messages" in record:
        return read_turns(record["messages"])
    if "conversations" in record:
        return read_turns(record["conversations"], "from", "value", _sharegpt_role)
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


def read_turns(
    turns: Any,
    role_key: str = "role",
    text_key: str = "content",
    role_of: Callable[[str], str] = str,
) -> list[Message]:
    """Messages from a list of JSON objects; whether they are a conversation is not checked.

    Raises:
        ConversationError: no list, or an object without a role or a text; says which one.
    """
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
