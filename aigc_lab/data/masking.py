"""What BERT is pretrained on: pairs of text parts, in which some tokens are hidden.

    [CLS] first part [SEP] second part [SEP] [PAD] ...      segments 0 0 ... 0 1 ... 1 0 ...

Of the tokens of a row, 15 % are chosen. Of these 80 % become [MASK], 10 % a random token, and 10 %
stay; the model is asked for the original of all of them, and of no other.

Shapes: B rows, T tokens of the longest.

Sources: Devlin et al. 2019; Lan et al. 2020 for the order of two parts as the task.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from aigc_lab.data.bpe_training import train_bpe
from aigc_lab.data.synthetic import NO_TARGET
from aigc_lab.data.tiny_world import TinyWorld
from aigc_lab.data.tokenizer import SINGLE_DIGIT_PATTERN, Tokenizer

PAD, CLS, SEP, MASK = SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")
PAIRINGS = ("next", "order", "true")
IS_NEXT, IS_NOT_NEXT = 0, 1  # as in the published model
SENTENCE_END = re.compile(r"(?<=\.)(?= )")  # the space goes with what comes after it


@dataclass(frozen=True)
class MaskedBatch:
    """What one pass of pretraining needs.

    Args:
        tokens: what the model reads, `(B, T)` int64.
        targets: the originals of the chosen tokens, elsewhere `NO_TARGET`, `(B, T)` int64.
        attention_mask: True for tokens, False for padding, `(B, T)` boolean.
        segments: 0 for the first part with its [SEP], 1 for the second, 0 for padding, `(B, T)`.
        labels: `IS_NEXT` or `IS_NOT_NEXT`, `(B,)` int64.
    """

    tokens: torch.Tensor
    targets: torch.Tensor
    attention_mask: torch.Tensor
    segments: torch.Tensor
    labels: torch.Tensor

    @property
    def n_targets(self) -> int:
        """Number of tokens to be predicted."""
        return int((self.targets != NO_TARGET).sum())

    @property
    def shape(self) -> torch.Size:
        """`(B, T)`."""
        return self.tokens.shape

    def to(self, device: torch.device | str) -> "MaskedBatch":
        """The same batch on another device."""
        parts = (self.tokens, self.targets, self.attention_mask, self.segments, self.labels)
        return MaskedBatch(*(part.to(device) for part in parts))


class StoryPairs:
    """Batches of story parts, a function of the step.

    Each story comes once and is cut between two sentences. Masks are drawn anew for each step.

    Args:
        world: makes the stories; its mix must hold nothing else.
        tokenizer: with the tokens of `SPECIAL`.
        batch_size: pairs B of a batch.
        max_length: longest row, in tokens.
        pairing: "next", half of the second parts belong to another story of the batch; "order",
            half of the pairs are swapped; "true", all are as they were told.
        share: of the tokens that are chosen.
        seed: of cuts, pairs and masks.
        first_step: of the source that is step 0 here, so that two trainings share no story.

    Raises:
        ValueError: a tokenizer without the special tokens, or a setting that is impossible.
    """

    def __init__(
        self,
        world: TinyWorld,
        tokenizer: Tokenizer,
        batch_size: int,
        *,
        max_length: int = 128,
        pairing: str = "next",
        share: float = 0.15,
        seed: int = 0,
        first_step: int = 0,
    ):
        check_special(tokenizer)
        if not 0 < share <= 1:
            raise ValueError(f"share={share} must be above 0 and at most 1; BERT's is 0.15")
        if pairing not in PAIRINGS:
            raise ValueError(f"pairing={pairing!r} is not one of {PAIRINGS}")
        if any(world.settings.mix[1:]):
            raise ValueError(
                f"mix={world.settings.mix} has documents that are no stories: use "
                "WorldSettings(mix=(1, 0, 0, 0))"
            )
        if batch_size < (least := 2 if pairing == "next" else 1):
            raise ValueError(f"batch_size={batch_size} must be at least {least}")
        self.world, self.tokenizer, self.batch_size = world, tokenizer, batch_size
        self.max_length, self.pairing, self.share, self.seed = max_length, pairing, share, seed
        self.first_step = first_step

    def pairs(self, step: int) -> tuple[list[tuple[str, str]], list[int]]:
        """The pairs of a step as texts, and their labels."""
        step += self.first_step
        chance = np.random.default_rng([self.seed, step, 0])
        numbers = range(step * self.batch_size, (step + 1) * self.batch_size)
        parts = [cut(self.world.document(number).text, chance) for number in numbers]
        labels = chance.integers(2, size=self.batch_size) * (self.pairing != "true")
        pairs = []
        for row, (first, second) in enumerate(parts):
            if labels[row] == IS_NOT_NEXT and self.pairing == "next":
                second = parts[row - 1][1]
            elif labels[row] == IS_NOT_NEXT:
                first, second = second, first
            pairs.append((first, second))
        return pairs, labels.tolist()

    def batch(self, step: int) -> MaskedBatch:
        """The batch of a step."""
        pairs, labels = self.pairs(step)
        tokens, mask, segments = encode_pairs(self.tokenizer, pairs, self.max_length, shorten=True)
        chance = np.random.default_rng([self.seed, self.first_step + step, 1])
        tokens, targets = mask_tokens(tokens, self.tokenizer, chance, self.share)
        return MaskedBatch(tokens, targets, mask, segments, torch.tensor(labels))


def cut(story: str, chance: np.random.Generator) -> tuple[str, str]:
    """A story in two parts, cut between two of its sentences; the second begins with its space."""
    sentences = SENTENCE_END.split(story)
    if len(sentences) < 2:
        raise ValueError(f"{story!r} has one sentence: a pair needs two")
    place = int(chance.integers(1, len(sentences)))
    return "".join(sentences[:place]), "".join(sentences[place:])


def encode_pairs(
    tokenizer: Tokenizer,
    pairs: Sequence[tuple[str, str] | str],
    max_length: int,
    shorten: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Texts, or pairs of texts, as tokens, attention mask and segments, `(B, T)` each.

    Special tokens are put in here; what looks like one in a text is ordinary characters. With
    `shorten`, a row longer than `max_length` loses tokens from the end of its longer part.

    Raises:
        ValueError: no text, one that is longer than `max_length` with its special tokens (unless
            `shorten`), or a tokenizer without them.
    """
    check_special(tokenizer)
    if not pairs:
        raise ValueError("pairs is empty: a batch needs at least one")
    pad, start, end, _ = (tokenizer.special_tokens[name] for name in SPECIAL)
    rows = []
    for number, pair in enumerate(pairs):
        parts = [tokenizer.encode(text) for text in ((pair,) if isinstance(pair, str) else pair)]
        while shorten and sum(map(len, parts)) + len(parts) + 1 > max_length:
            max(parts, key=len).pop()
        ids, segments = [start], [0]
        for segment, part in enumerate(parts):
            ids += [*part, end]
            segments += [segment] * (len(part) + 1)
        if len(ids) > max_length:
            raise ValueError(
                f"pair {number} has {len(ids)} tokens with its special ones, more than "
                f"max_length={max_length}: cut the text, or read it in several windows"
            )
        rows.append((ids, segments))
    shape = len(rows), max(len(ids) for ids, _ in rows)
    tokens, segments = torch.full(shape, pad), torch.zeros(shape, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.bool)
    for row, (ids, kinds) in enumerate(rows):
        tokens[row, : len(ids)], segments[row, : len(ids)] = torch.tensor([ids, kinds])
        mask[row, : len(ids)] = True
    return tokens, mask, segments


def mask_tokens(
    tokens: torch.Tensor, tokenizer: Tokenizer, chance: np.random.Generator, share: float = 0.15
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hide a share of the tokens `(B, T)` of each row by the 80/10/10 rule.

    The share of a row's ordinary tokens is rounded, and is at least one; special ones stay.

    Returns:
        What the model reads and what it is asked for (elsewhere `NO_TARGET`), `(B, T)` each.

    Raises:
        ValueError: a row of special tokens only, or a tokenizer without them.
    """
    check_special(tokenizer)
    ids = tokens.numpy()
    ordinary = ~np.isin(ids, [*tokenizer.special_tokens.values()])
    if not ordinary.any(axis=1).all():
        row = int((~ordinary.any(axis=1)).argmax())
        raise ValueError(f"row {row} of tokens has special tokens only: nothing can be masked")
    n_chosen = np.maximum(1, np.rint(share * ordinary.sum(axis=1)))  # (B,)
    lots = np.where(ordinary, chance.random(ids.shape), 2.0)
    chosen = lots.argsort(axis=1).argsort(axis=1) < n_chosen[:, None]  # the lowest lots
    n_ordinary = tokenizer.vocab_size - len(tokenizer.special_tokens)  # special ids come last
    read, targets = hide(
        ids,
        chosen,
        chance.random(ids.shape),
        chance.integers(n_ordinary, size=ids.shape),
        tokenizer.special_tokens[MASK],
    )
    return torch.from_numpy(read), torch.from_numpy(targets)


def hide(
    tokens: np.ndarray, chosen: np.ndarray, fate: np.ndarray, random: np.ndarray, mask_token: int
) -> tuple[np.ndarray, np.ndarray]:
    """The 80/10/10 rule at the chosen places, by a lot `fate` from [0, 1) for each token.

    Args:
        tokens, chosen, fate, random: of the same shape; a random token stands ready everywhere.
        mask_token: the id of [MASK].

    Returns:
        What the model reads and what it is asked for, of the same shape.
    """
    read = np.where(chosen & (fate < 0.8), mask_token, tokens)
    read = np.where(chosen & (fate >= 0.8) & (fate < 0.9), random, read)
    return read, np.where(chosen, tokens, NO_TARGET)


def make_masking_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A tokenizer with the tokens of `SPECIAL`, in which each digit is a token."""
    return train_bpe(texts, vocab_size, pattern=SINGLE_DIGIT_PATTERN, special_tokens=list(SPECIAL))


def check_special(tokenizer: Tokenizer) -> None:
    """Raise ValueError unless the tokenizer has the tokens of `SPECIAL`."""
    missing = [name for name in SPECIAL if name not in tokenizer.special_tokens]
    if missing:
        raise ValueError(
            f"tokenizer lacks the special tokens {missing}: make one with make_masking_tokenizer"
        )
