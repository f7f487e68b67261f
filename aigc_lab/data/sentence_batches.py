"""Sentence pairs as batches of token ids for a model that translates.

Shapes: B pairs, S tokens of the longest source sentence, T of the longest target sentence and one.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from aigc_lab.data.tiny_world.translation import SentencePair, SentencePairs
from aigc_lab.data.tokenizer import TokenizerFileError
from aigc_lab.files import write_atomically

PAD, START, END = 0, 1, 2
SPECIAL = ("<pad>", "<start>", "<end>")


class Vocabulary:
    """Words with an id each; the first three ids are padding, start and end.

    Args:
        words: those that there are; repetitions do not count.

    Raises:
        ValueError: a word that is written like one of the special tokens.
    """

    def __init__(self, words: Iterable[str]):
        words = set(words)
        if forged := words.intersection(SPECIAL):
            raise ValueError(f"{min(forged)!r} is a special token: no text may contain it")
        self.words = (*SPECIAL, *sorted(words))
        self.ids = {word: index for index, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, words: Sequence[str]) -> list[int]:
        """The ids of words.

        Raises:
            ValueError: a word that is not in the vocabulary, or is a special token.
        """
        for word in words:
            if word not in self.ids or word in SPECIAL:
                raise ValueError(
                    f"{word!r} is not among the {len(self) - len(SPECIAL)} words of this "
                    "vocabulary: make it from more sentences, or correct the word"
                )
        return [self.ids[word] for word in words]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The words up to the end token, without padding and start."""
        words = []
        for index in ids:
            if index == END:
                break
            if index not in (PAD, START):
                words.append(self.words[index])
        return words


@dataclass(frozen=True)
class Vocabularies:
    """The words of the source language and the characters of the target language."""

    source: Vocabulary
    target: Vocabulary

    @classmethod
    def of(cls, pairs: Iterable[SentencePair]) -> "Vocabularies":
        """All that occur in some pairs."""
        pairs = list(pairs)
        english = Vocabulary(word for pair in pairs for word in pair.english)
        return cls(english, Vocabulary(sign for pair in pairs for sign in pair.chinese))

    def save(self, path: str | Path) -> None:
        """Write both as JSON, whole or not at all."""
        words = {
            name: vocabulary.words[len(SPECIAL) :]
            for name, vocabulary in (("source", self.source), ("target", self.target))
        }
        text = json.dumps(words, ensure_ascii=False, indent=0)
        write_atomically(Path(path), text.encode())

    @classmethod
    def load(cls, path: str | Path) -> "Vocabularies":
        """Read what `save` wrote.

        Raises:
            TokenizerFileError: the file is damaged.
        """
        try:
            words = json.loads(Path(path).read_text(encoding="utf-8"))
            found = cls(Vocabulary(words["source"]), Vocabulary(words["target"]))
        except (ValueError, KeyError, TypeError) as error:
            raise TokenizerFileError(f"{path} holds no two vocabularies ({error})") from None
        return found


@dataclass(frozen=True)
class PairBatch:
    """What one pass of a translating model needs.

    Args:
        source: what the encoder reads, `(B, S)`.
        read: what the decoder reads, `(B, T)`: the start token, then the sentence.
        targets: what it is to predict, `(B, T)`: the sentence, then the end token; PAD where a
            row is shorter.
    """

    source: torch.Tensor
    read: torch.Tensor
    targets: torch.Tensor

    @property
    def n_targets(self) -> int:
        """Number of tokens to be predicted."""
        return int((self.targets != PAD).sum())

    @property
    def shape(self) -> torch.Size:
        """Rows and tokens in a row, (B, T)."""
        return self.read.shape

    def to(self, device: torch.device | str) -> "PairBatch":
        """The same batch on another device."""
        return PairBatch(self.source.to(device), self.read.to(device), self.targets.to(device))


class PairSource:
    """Batches of an endless series of pairs, a function of the step.

    Args:
        pairs: the series.
        vocabularies: of English and Chinese.
        batch_size: pairs B of a batch.
    """

    def __init__(self, pairs: SentencePairs, vocabularies: Vocabularies, batch_size: int):
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        self.pairs, self.batch_size = pairs, batch_size
        self.vocabularies = vocabularies

    def batch(self, step: int) -> PairBatch:
        """The batch of a step."""
        some = list(self.pairs.pairs(self.batch_size, start=step * self.batch_size))
        return batch_of_pairs(some, self.vocabularies)


def batch_of_pairs(pairs: Sequence[SentencePair], vocabularies: Vocabularies) -> PairBatch:
    """Some pairs as one batch, padded on the right.

    Raises:
        ValueError: no pair, or an unknown word.
    """
    if not pairs:
        raise ValueError("pairs is empty: a batch needs at least one")
    source = [vocabularies.source.encode(pair.english) for pair in pairs]
    target = [vocabularies.target.encode(pair.chinese) for pair in pairs]
    return PairBatch(
        padded(source),
        padded([[START, *ids] for ids in target]),
        padded([[*ids, END] for ids in target]),
    )


def padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Rows of ids as one tensor `(B, longest)`, filled up with PAD on the right."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])
