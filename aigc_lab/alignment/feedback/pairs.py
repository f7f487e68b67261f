"""Pairs to judge: a conversation and two answers to its last message.

In a file each is {"id": "...", "prompt": "...", "a": "...", "b": "..."}, where the prompt is a text
or a list of messages; without "id" the content gives one.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aigc_lab.data.chat import Message
from aigc_lab.data.json_records import json_line, read_records
from aigc_lab.data.preferences import checked_prompt, prompt_of, turns_of
from aigc_lab.files import write_atomically

ANSWERS = ("a", "b")


class PairError(ValueError):
    """What cannot be judged; from a file, the message names it and the line."""


@dataclass(frozen=True)
class Pair:
    """Two answers to a conversation.

    Args:
        messages: pairs of role and text; the user's comes last.
        a, b: the answers.
        pair_id: under which votes on it are kept; by default made from the content.

    Raises:
        PairError: an answer that is no text, or two that are the same.
        PreferenceError: messages that no answer can follow.
    """

    messages: tuple[Message, ...]
    a: str
    b: str
    pair_id: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", checked_prompt(self.messages))
        for name in ANSWERS:
            if not isinstance(getattr(self, name), str):
                raise PairError(f"{name}={getattr(self, name)!r} is no text: give a string")
        if self.a == self.b:
            raise PairError(f"a and b are both {self.a[:60]!r}: there is nothing to choose from")
        if not isinstance(self.pair_id, str):
            raise PairError(f"pair_id={self.pair_id!r} is no text: give a string")
        content = json_line([turns_of(self.messages), self.a, self.b])
        made = hashlib.sha256(content).hexdigest()[:12]
        object.__setattr__(self, "pair_id", self.pair_id or made)

    def left_for(self, labeller: str) -> str:
        """Which answer this labeller sees on the left, "a" or "b".

        By chance, because people prefer what stands on one side; the same each time that they ask.
        """
        digest = hashlib.sha256(f"{labeller}\0{self.pair_id}".encode(errors="surrogatepass"))
        return ANSWERS[digest.digest()[0] % 2]


def load_pairs(path: str | Path) -> list[Pair]:
    """The pairs of a file, JSONL or one JSON list.

    Raises:
        PairError: broken JSON, what `Pair` refuses, an id that occurs twice, an empty file; names
            the file and the line.
        FileNotFoundError: there is no such file.
    """
    path, found, lines = Path(path), [], {}
    for line, record in read_records(path, PairError):
        try:
            if not isinstance(record, dict):
                raise PairError(f"{str(record)[:40]!r} is no JSON object")
            if missing := [name for name in ANSWERS if name not in record]:
                raise PairError(f"an object with the keys {sorted(record)} lacks {missing}")
            pair_id = record.get("id", "")
            pair_id = str(pair_id) if type(pair_id) is int else pair_id
            pair = Pair(tuple(prompt_of(record)), record["a"], record["b"], pair_id)
        except ValueError as error:  # ConversationError and PreferenceError too
            raise PairError(f"{path}, line {line}: {error}") from None
        if pair.pair_id in lines:
            raise PairError(
                f"{path}, line {line}: the pair {pair.pair_id!r} stands on line "
                f"{lines[pair.pair_id]} already: give each an 'id' of its own"
            )
        lines[pair.pair_id] = line
        found.append(pair)
    if not found:
        raise PairError(f"{path} holds no pair: the file is empty")
    return found


def save_pairs(path: str | Path, pairs: Iterable[Pair]) -> None:
    """Write pairs as JSONL, which `load_pairs` reads, whole or not at all."""
    records = (
        {"id": pair.pair_id, "prompt": turns_of(pair.messages), "a": pair.a, "b": pair.b}
        for pair in pairs
    )
    write_atomically(path, b"".join(map(json_line, records)))
