"""Files of JSON objects: one per line (JSONL), or one list of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_records(path: Path, error: type[ValueError]) -> Iterator[tuple[int, Any]]:
    """Every JSON value of a list, or of the lines, with the line on which it begins.

    Args:
        path: of the file.
        error: the class of what is raised where the file is damaged.

    Raises:
        error: broken JSON, a list that was cut short, no UTF-8; names the file and the line.
        FileNotFoundError: there is no such file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not UTF-8 (byte {problem.start}): convert it first") from None
    start = len(text) - len(text.lstrip())
    is_list = text[start : start + 1] == "["
    place, decoder = start + is_list, json.JSONDecoder()
    line, counted = 1, 0  # the line of place `counted`: counting anew would cost the square
    while True:
        place = _skip(text, place, " \t\r\n," if is_list else " \t\r\n")
        if place == len(text) or (is_list and text[place] == "]"):
            break
        line, counted = line + text.count("\n", counted, place), place
        try:
            record, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as problem:
            raise error(
                f"{path}, line {problem.lineno}: {problem.msg} at column {problem.colno}; the "
                f"object begins on line {line}"
            ) from None
        except RecursionError:
            raise error(f"{path}, line {line}: brackets in brackets too deep to read") from None
        yield line, record
    if is_list and place == len(text):
        raise error(f"{path} begins with '[' and has no ']': it was cut short")
    if is_list and (after := _skip(text, place + 1, " \t\r\n")) < len(text):
        line = text.count("\n", 0, after) + 1
        raise error(
            f"{path}, line {line}: there is more after the ']' that ends the list: one file holds "
            "one list, or objects without brackets around them"
        )


def json_line(record: Any) -> bytes:
    """A value as one line of a JSONL file, UTF-8, its newline included."""
    text = json.dumps(record, ensure_ascii=False)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair: JSON can write it, UTF-8 cannot
        return json.dumps(record).encode() + b"\n"


def _skip(text: str, place: int, characters: str) -> int:
    while place < len(text) and text[place] in characters:
        place += 1
    return place
