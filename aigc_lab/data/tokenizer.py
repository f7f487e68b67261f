"""Byte-level byte-pair encoding (BPE): text to token ids and back without losing a byte.

    text --pattern--> pieces --UTF-8--> bytes --merges--> tokens --vocabulary--> ids

The vocabulary starts as the 256 single bytes. Merge number r says "token a followed by token b
becomes one token"; the merges are learned in `aigc_lab.data.bpe_training` and applied here in
the order in which they were learned.

Sources: Sennrich, Haddow and Birch 2016 (BPE for words), Radford et al. 2019 (byte level and the
splitting pattern of GPT-2).
"""

import heapq
import json
import operator
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import regex

from aigc_lab.files import write_atomically

# GPT-2's pattern. It cuts text into pieces and no merge ever crosses a cut: contractions, then
# words, numbers and punctuation, each with at most one space in front, then runs of white space
# (all but the last space, which belongs to the word after it).
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# The same, with every digit a piece of its own, so that 1024 is always 1, 0, 2, 4.
SINGLE_DIGIT_PATTERN = GPT2_PATTERN.replace(r" ?\p{N}+", r"\p{N}")

FILE_FORMAT = "aigc_lab.tokenizer"
FILE_VERSION = 1
# Pieces longer than this are not remembered: they rarely come twice.
_LONGEST_REMEMBERED_PIECE = 64
_MOST_REMEMBERED_PIECES = 200_000


class TokenizerFileError(ValueError):
    """A tokenizer file that cannot be used; the message says what is wrong and what to do."""


class Tokenizer:
    """Turns text into token ids and back.

    Args:
        merges: pairs `(left id, right id)` in the order in which they apply. Each makes the
            token whose bytes are those of left followed by right. It gets the next free id,
            unless a token with the same bytes exists: one string of bytes, one id.
        pattern: regular expression that cuts text into pieces; it must match every character.
        alphabet: the 256 byte values in the order of ids 0 to 255.
        special_tokens: names such as `"<|endoftext|>"`; they get the ids after the last merge.

    Raises:
        TypeError: a merge is not of integers.
        ValueError: a merge names a token that does not exist yet, or comes twice; the alphabet
            is not a permutation of 0..255; a special token is empty or comes twice.
    """

    def __init__(
        self,
        merges: Sequence[tuple[int, int]] = (),
        *,
        pattern: str = GPT2_PATTERN,
        alphabet: Sequence[int] = range(256),
        special_tokens: Sequence[str] = (),
    ):
        if sorted(alphabet) != list(range(256)):
            raise ValueError("alphabet must hold each byte value from 0 to 255 exactly once")
        self.merges = [(operator.index(left), operator.index(right)) for left, right in merges]
        self.pattern = pattern
        self.alphabet = tuple(alphabet)
        self.vocabulary = [bytes([byte]) for byte in self.alphabet]  # id -> bytes
        self._byte_to_id = {byte: index for index, byte in enumerate(self.alphabet)}
        self._rank: dict[tuple[int, int], int] = {}  # pair -> place in self.merges
        self._merged_id: list[int] = []  # place in self.merges -> id of the token it makes
        self._add_merges()

        self.special_tokens: dict[str, int] = {}
        if isinstance(special_tokens, str) or not all(isinstance(n, str) for n in special_tokens):
            raise TypeError(f"special_tokens must be a list of names, not {special_tokens!r}")
        for name in special_tokens:
            if not name or name in self.special_tokens:
                raise ValueError(f"special token {name!r} is empty or comes twice")
            self.special_tokens[name] = len(self.vocabulary)
            self.vocabulary.append(name.encode("utf-8"))

        self._pattern = compile_pattern(pattern)
        self._remembered: dict[str, list[int]] = {}  # piece -> ids

    def _add_merges(self) -> None:
        id_of = {token: index for index, token in enumerate(self.vocabulary)}
        for rank, pair in enumerate(self.merges):
            for part in pair:
                if not 0 <= part < len(self.vocabulary):
                    raise ValueError(
                        f"merge {rank} joins {pair}, but token {part} does not exist at that "
                        f"point: only ids 0 to {len(self.vocabulary) - 1} do"
                    )
            if pair in self._rank:
                raise ValueError(f"merge {rank} repeats merge {self._rank[pair]}: {pair}")
            token = self.vocabulary[pair[0]] + self.vocabulary[pair[1]]
            if token not in id_of:
                id_of[token] = len(self.vocabulary)
                self.vocabulary.append(token)
            self._rank[pair] = rank
            self._merged_id.append(id_of[token])

    def __repr__(self) -> str:
        return (
            f"Tokenizer(vocab_size={self.vocab_size}, merges={len(self.merges)}, "
            f"special_tokens={list(self.special_tokens)})"
        )

    @property
    def vocab_size(self) -> int:
        """Number of token ids: 256 bytes, the merged tokens and the special tokens."""
        return len(self.vocabulary)

    # ---------------------------------------------------------------- text to ids

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        """Token ids of `text`.

        Args:
            text: any text without lone surrogates.
            allowed_special: names of the special tokens to recognise in `text`. By default
                none: a user who types "<|endoftext|>" gets the tokens of those 13 characters,
                never the special token.

        Raises:
            TypeError: `text` is not a string.
            ValueError: a lone surrogate in `text`, or an unknown name in `allowed_special`.
        """
        if not isinstance(text, str):
            raise TypeError(
                f"text must be a str, not {type(text).__name__}; for bytes: encode_bytes"
            )
        if isinstance(allowed_special, str):
            raise TypeError(f"allowed_special must be a list of names: [{allowed_special!r}]")
        unknown = set(allowed_special) - set(self.special_tokens)
        if unknown:
            raise ValueError(
                f"allowed_special names {sorted(unknown)}, but this tokenizer has only "
                f"{sorted(self.special_tokens)}"
            )
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(
                f"text[{error.start}] is the lone surrogate U+{ord(text[error.start]):04X}, which "
                "is not a character; clean the text with "
                'text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")'
            ) from None
        if not allowed_special:
            return self._encode_ordinary(text)
        # Longest names first: of "<|end|>" and "<|end|>x" the longer one wins where both fit.
        names = sorted(allowed_special, key=len, reverse=True)
        parts = regex.split("(" + "|".join(regex.escape(name) for name in names) + ")", text)
        ids: list[int] = []
        for number, part in enumerate(parts):  # the odd ones are the special tokens
            ids += [self.special_tokens[part]] if number % 2 else self._encode_ordinary(part)
        return ids

    def encode_bytes(self, data: bytes) -> list[int]:
        """Token ids of any bytes, valid UTF-8 or not; `decode_bytes` gives them back."""
        return self._encode_ordinary(data.decode("utf-8", errors="surrogateescape"))

    def pieces(self, text: str) -> list[str]:
        """The pieces into which the pattern cuts `text`, before any merge.

        Raises:
            ValueError: the pattern leaves out a part of the text.
        """
        return cut(text, self._pattern)

    def _encode_ordinary(self, text: str) -> list[int]:
        ids: list[int] = []
        remembered = self._remembered
        for piece in self.pieces(text):
            piece_ids = remembered.get(piece)
            if piece_ids is None:
                piece_ids = self._merge(piece.encode("utf-8", errors="surrogateescape"))
                if len(piece) <= _LONGEST_REMEMBERED_PIECE:
                    if len(remembered) >= _MOST_REMEMBERED_PIECES:
                        remembered.clear()
                    remembered[piece] = piece_ids
            ids += piece_ids
        return ids

    def _merge(self, data: bytes) -> list[int]:
        """Apply the merges to one piece, earliest learned first, leftmost first among equals.

        A heap holds every adjacent pair that has a merge; a linked list holds the neighbours.
        A merge changes only the pairs beside it, so a piece of n bytes costs O(n log n): a
        megabyte without a space takes seconds, not hours.
        """
        ids = [self._byte_to_id[byte] for byte in data]
        end = len(ids)
        before = list(range(-1, end - 1))
        after = list(range(1, end + 1))
        rank_of = self._rank.get
        heap = [
            (rank, left)
            for left, pair in enumerate(zip(ids, ids[1:], strict=False))
            if (rank := rank_of(pair)) is not None
        ]
        heapq.heapify(heap)
        while heap:
            rank, left = heapq.heappop(heap)
            right = after[left]
            # An entry is out of date when another merge has used one of its two tokens.
            if right == end or rank_of((ids[left], ids[right])) != rank:
                continue
            ids[left], ids[right] = self._merged_id[rank], -1  # -1: swallowed
            after[left] = next_ = after[right]
            if next_ != end:
                before[next_] = left
                if (new := rank_of((ids[left], ids[next_]))) is not None:
                    heapq.heappush(heap, (new, left))
            previous = before[left]
            if previous != -1 and (new := rank_of((ids[previous], ids[left]))) is not None:
                heapq.heappush(heap, (new, previous))
        return [token for token in ids if token != -1]

    # ---------------------------------------------------------------- ids to text

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """Text of token ids; special tokens give their names.

        Args:
            ids: ints, numpy ints or a 1-D tensor of ints.
            errors: what to do where the bytes are not valid UTF-8 (a character cut in half):
                `"replace"` puts the replacement character, `"strict"` raises.

        Raises:
            TypeError: an id that is not an integer.
            ValueError: an id outside the vocabulary.
        """
        return self.decode_bytes(ids).decode("utf-8", errors=errors)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Bytes of token ids; errors as in `decode`."""
        return b"".join(self.token_bytes(token, position) for position, token in enumerate(ids))

    def token_bytes(self, token: int, position: int | None = None) -> bytes:
        """Bytes of one token id; `position` only serves the error message."""
        try:
            index = operator.index(token)
        except TypeError:
            where = "" if position is None else f" at position {position}"
            raise TypeError(f"token id {token!r}{where} is not an integer") from None
        if not 0 <= index < self.vocab_size:
            where = "" if position is None else f" at position {position}"
            raise ValueError(
                f"token id {index}{where} is out of range: this tokenizer has ids 0 to "
                f"{self.vocab_size - 1}; was the text encoded by another tokenizer?"
            )
        return self.vocabulary[index]

    def with_special_tokens(self, names: Sequence[str]) -> "Tokenizer":
        """The same tokenizer with more special tokens, whose ids follow all others.

        Raises:
            ValueError: a name that is empty or there already.
        """
        return Tokenizer(
            self.merges,
            pattern=self.pattern,
            alphabet=self.alphabet,
            special_tokens=[*self.special_tokens, *names],
        )

    # ---------------------------------------------------------------- files

    def save(self, path: str | Path) -> None:
        """Write the tokenizer to one JSON file, whole or not at all."""
        content = {
            "format": FILE_FORMAT,
            "version": FILE_VERSION,
            "pattern": self.pattern,
            "alphabet": self.alphabet,
            "special_tokens": list(self.special_tokens),
            "vocab_size": self.vocab_size,
            "merges": self.merges,
        }
        write_atomically(path, json.dumps(content).encode("utf-8"))

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read a tokenizer that `save` wrote.

        Raises:
            TokenizerFileError: the file is damaged, of another format or of another version.
        """
        try:
            content = json.loads(Path(path).read_bytes())
        except (ValueError, RecursionError) as error:
            raise TokenizerFileError(
                f"{path} is not whole JSON ({error}): it was probably cut short; copy or train "
                "the tokenizer again"
            ) from None
        found = content.get("format") if isinstance(content, dict) else None
        if found != FILE_FORMAT:
            raise TokenizerFileError(
                f"{path} has format {found!r}, not {FILE_FORMAT!r}; for GPT-2's two files use "
                "aigc_lab.data.tokenizer_files.from_gpt2_files"
            )
        if content.get("version") != FILE_VERSION:
            raise TokenizerFileError(
                f"{path} has version {content.get('version')!r}; this code reads version "
                f"{FILE_VERSION}: update aigc_lab or train the tokenizer again"
            )
        try:
            tokenizer = cls(
                content["merges"],
                pattern=content["pattern"],
                alphabet=content["alphabet"],
                special_tokens=content["special_tokens"],
            )
        except KeyError as error:
            raise TokenizerFileError(f"{path} has no entry {error}; it is damaged") from None
        except (TypeError, ValueError) as error:
            raise TokenizerFileError(f"{path} is damaged: {error}") from None
        if tokenizer.vocab_size != content.get("vocab_size"):
            raise TokenizerFileError(
                f"{path} promises {content.get('vocab_size')} tokens but its merges make "
                f"{tokenizer.vocab_size}: some merges are missing; copy or train it again"
            )
        return tokenizer


def cut(text: str, pattern: "regex.Pattern[str]") -> list[str]:
    """Cut `text` into pieces.

    Raises:
        ValueError: the pattern leaves out a part of the text.
    """
    pieces = pattern.findall(text)
    if sum(map(len, pieces)) != len(text):
        raise ValueError(
            f"the pattern {pattern.pattern!r} skips some characters of {text[:40]!r}: it must "
            r"match all of them; add an alternative such as |\s+|."
        )
    return pieces


def compile_pattern(pattern: str) -> "regex.Pattern[str]":
    """Compile a splitting pattern.

    Raises:
        ValueError: not a regular expression, or one with capturing groups.
    """
    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from None
    if compiled.groups:
        raise ValueError(f"pattern {pattern!r} has capturing groups (...): write (?:...)")
    return compiled
