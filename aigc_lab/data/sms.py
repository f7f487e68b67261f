"""Short messages, spam or not: the SMS Spam Collection of Almeida and Hidalgo (CC BY 4.0).

    python -m aigc_lab download sms-spam

Many messages were sent several times, with another number or another prize. If one copy is learned
and another tested, the test asks what was seen. So messages that are alike but for case, digits and
spaces count as one, and only the first of them is kept.
"""

import random
import re
from collections.abc import Sequence
from pathlib import Path

from aigc_lab.data.download import find_data
from aigc_lab.data.labelled import Labelled

FILE = "sms_spam.tsv"
LABELS = {"ham": 0, "spam": 1}


def read_messages(path: str | Path | None = None) -> list[Labelled]:
    """All messages, 1 for spam and 0 for ham.

    Args:
        path: of the file; by default the downloaded one.

    Raises:
        FileNotFoundError: it was not downloaded yet; names the command.
        ValueError: a line that is no message; says which.
    """
    path = find_data(FILE) if path is None else Path(path)
    messages = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        label, tab, text = line.partition("\t")
        if label not in LABELS or not tab or not text.strip():
            raise ValueError(f"line {number} of {path} is not 'ham' or 'spam', a tab and a text")
        messages.append(Labelled(text, LABELS[label]))
    return messages


def content_key(text: str) -> str:
    """The same for messages that differ in case, digits and spaces only."""
    return re.sub(r"\s+", " ", re.sub(r"\d", "0", text.casefold())).strip()


def without_copies(messages: Sequence[Labelled]) -> list[Labelled]:
    """The first of each message that comes more than once."""
    first: dict[str, Labelled] = {}
    for message in messages:
        first.setdefault(content_key(message.text), message)
    return list(first.values())


def split_messages(
    messages: Sequence[Labelled], n_validation: int, n_test: int, seed: int = 0
) -> tuple[list[Labelled], list[Labelled], list[Labelled]]:
    """Messages to train, to choose settings and to test with; none is alike in two of them.

    Raises:
        ValueError: nothing is left to train with.
    """
    kept = without_copies(messages)
    if n_validation < 0 or n_test < 0 or n_validation + n_test >= len(kept):
        raise ValueError(
            f"n_validation={n_validation} and n_test={n_test} leave nothing to train with of "
            f"{len(kept)} different messages"
        )
    random.Random(seed).shuffle(kept)
    test, rest = kept[:n_test], kept[n_test:]
    return rest[n_validation:], rest[:n_validation], test
