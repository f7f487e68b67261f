"""Tokenizers in other programs' formats: GPT-2's two files and Hugging Face's tokenizer.json."""

import json
from collections.abc import Sequence
from pathlib import Path

from aigc_lab.data.tokenizer import Tokenizer, TokenizerFileError
from aigc_lab.files import write_atomically


def byte_characters() -> dict[int, str]:
    """One visible character for each byte, as GPT-2's files write them.

    A byte that is a printable Latin-1 character stands for itself; the 68 others (controls,
    space, 0x7F-0xA0, 0xAD) take the characters from U+0100 on, in order. So a space is "Ġ" and a
    newline "Ċ". The dictionary's order, printable bytes first, is the order of GPT-2's ids.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable}
    characters.update({byte: chr(0x100 + index) for index, byte in enumerate(others)})
    return characters


# The bytes in the order of GPT-2's ids 0 to 255.
GPT2_ALPHABET = tuple(byte_characters())


def from_gpt2_files(
    encoder_json: str | Path,
    vocab_bpe: str | Path,
    special_tokens: Sequence[str] = ("<|endoftext|>",),
) -> Tokenizer:
    """GPT-2's tokenizer from its `encoder.json` (token to id) and `vocab.bpe` (the merges).

    Args:
        encoder_json, vocab_bpe: the two files.
        special_tokens: the tokens after the last merge. Only by their names can a special token
            be told from one whose merge is missing.

    Raises:
        TokenizerFileError: a file is damaged, or the two do not belong together.
    """
    try:
        id_of: dict[str, int] = json.loads(Path(encoder_json).read_bytes())
    except (ValueError, RecursionError) as error:
        raise TokenizerFileError(
            f"{encoder_json} is not whole JSON ({error}); download it again"
        ) from None
    if not isinstance(id_of, dict) or not all(type(index) is int for index in id_of.values()):
        raise TokenizerFileError(
            f"{encoder_json} does not give one id to each token: it is not an encoder.json file"
        )
    try:
        lines = Path(vocab_bpe).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise TokenizerFileError(
            f"{vocab_bpe} is not whole UTF-8 text ({error}); download it again"
        ) from None
    if not lines or not lines[0].startswith("#version"):
        raise TokenizerFileError(
            f"{vocab_bpe} does not start with '#version': it is not a vocab.bpe file"
        )

    merges = []
    for number, line in enumerate(lines[1:], start=2):
        parts = line.split(" ")
        if len(parts) != 2 or not all(part in id_of for part in parts):
            raise TokenizerFileError(
                f"{vocab_bpe}, line {number}: {line!r} is not two tokens of {encoder_json}; the "
                "file is cut short or belongs to another vocabulary"
            )
        merges.append((id_of[parts[0]], id_of[parts[1]]))

    characters = byte_characters()
    byte_of = {character: byte for byte, character in characters.items()}
    ordered = sorted(id_of, key=id_of.__getitem__)
    found = ordered[256 + len(merges) :]
    if found != list(special_tokens):
        raise TokenizerFileError(
            f"after the {len(merges)} merges of {vocab_bpe}, {encoder_json} has {len(found)} more "
            f"tokens ({found[:3]} ...) instead of the special tokens {list(special_tokens)}: a "
            "file is cut short, or special_tokens names the wrong ones"
        )
    try:
        alphabet = [byte_of[character] for character in ordered[:256]]
        tokenizer = Tokenizer(merges, alphabet=alphabet, special_tokens=special_tokens)
    except (KeyError, ValueError) as error:
        raise TokenizerFileError(f"{encoder_json} is not a GPT-2 vocabulary: {error}") from None
    for token, index in id_of.items():
        expected = (
            token.encode("utf-8")
            if token in tokenizer.special_tokens
            # 0 for a character that stands for no byte: then the comparison fails, as it should
            else bytes(byte_of.get(character, 0) for character in token)
        )
        if not 0 <= index < tokenizer.vocab_size or tokenizer.vocabulary[index] != expected:
            raise TokenizerFileError(
                f"{encoder_json} gives {token!r} the id {index}, but the merges in {vocab_bpe} do "
                "not: the two files do not belong together"
            )
    return tokenizer


def to_tokenizer_json(tokenizer: Tokenizer, path: str | Path) -> None:
    """Write a `tokenizer.json` that Hugging Face's `tokenizers` library loads.

    It gives the same ids for ordinary text. Unlike ours, that library always recognises special
    tokens inside a text.

    Raises:
        ValueError: a special token is spelled like an ordinary one; that library would take the
            two for one and shift the ids after it.
    """
    characters = byte_characters()

    def spell(token: bytes) -> str:
        return "".join(characters[byte] for byte in token)

    n_ordinary = tokenizer.vocab_size - len(tokenizer.special_tokens)
    spelled = [spell(token) for token in tokenizer.vocabulary[:n_ordinary]]
    for name in tokenizer.special_tokens:
        if name in spelled:
            raise ValueError(
                f"special token {name!r} is spelled like the ordinary token "
                f"{spelled.index(name)}, and tokenizer.json cannot hold both; give it a name that "
                'no text contains, such as "<|name|>"'
            )
    split = {
        "type": "Split",
        "pattern": {"Regex": tokenizer.pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": index,
                "content": name,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for name, index in tokenizer.special_tokens.items()
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(spelled)},
            "merges": [[spelled[left], spelled[right]] for left, right in tokenizer.merges],
        },
    }
    write_atomically(path, json.dumps(content, ensure_ascii=False).encode("utf-8"))
