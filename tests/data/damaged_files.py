"""Files of JSON records that are damaged as a whole, for every loader of such files."""

import json
from typing import Any


def damaged_files(record: dict[str, Any], key: str) -> list[tuple[bytes, str]]:
    """What a file holds, and the words that its error must have.

    Args:
        record: one that is all right.
        key: of a record.
    """
    in_latin_1 = f'{{"{key}": "caf\u00e9"}}'.encode("latin-1")
    return [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"[]", "the file is empty"),
        (b"[" + json.dumps(record).encode(), "cut short"),
        (in_latin_1, f"not UTF-8 .byte {in_latin_1.index(0xE9)}."),
    ]
