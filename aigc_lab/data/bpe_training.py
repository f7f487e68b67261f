"""Learning the merges of byte-pair encoding from text.

The rule is one sentence: join the pair of neighbours that is most frequent, and repeat. Done
literally, every merge would recount the corpus. Three observations make it fast:

1. The same pieces come again and again ("the", " of"), so count distinct pieces once.
2. A merge changes only the pairs next to it, so correct the counts instead of recounting.
3. Only the pair with the largest count is wanted, so keep the pairs in a heap. A count that has
   fallen leaves an entry that is too high; it is corrected when it comes to the top.

Source: Sennrich, Haddow and Birch 2016.
"""

import heapq
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from tqdm import tqdm

from aigc_lab.data.tokenizer import GPT2_PATTERN, Tokenizer, compile_pattern, cut

Pair = tuple[int, int]


def train_bpe(
    texts: str | Iterable[str],
    vocab_size: int,
    *,
    pattern: str = GPT2_PATTERN,
    alphabet: Sequence[int] = range(256),
    special_tokens: Sequence[str] = (),
    min_count: int = 2,
    progress: bool = False,
) -> Tokenizer:
    """Train a byte-level BPE tokenizer.

    Ties between pairs that are equally frequent go to the smaller ids. The `tokenizers` library
    does the same, so with `alphabet=tokenizer_files.GPT2_ALPHABET`, its order of the bytes, both
    learn the same merges.

    Args:
        texts: one text or many; no piece crosses from one to the next.
        vocab_size: number of ids wanted: 256 bytes + merged tokens + special tokens.
        pattern, alphabet, special_tokens: as in `Tokenizer`.
        min_count: a pair seen fewer times is not merged.
        progress: show a progress bar.

    Returns:
        The tokenizer. If the text has too few pairs for `vocab_size`, it is smaller and a
        warning says so.

    Raises:
        ValueError: `vocab_size` below 256 + the number of special tokens, or a pattern, alphabet
            or special tokens that `Tokenizer` refuses.
    """
    smallest = 256 + len(special_tokens)
    if vocab_size < smallest:
        raise ValueError(
            f"vocab_size={vocab_size} is too small: the 256 bytes and {len(special_tokens)} "
            f"special tokens need {smallest}"
        )
    # Bad arguments are an error now, not after minutes of work.
    Tokenizer(pattern=pattern, alphabet=alphabet, special_tokens=special_tokens)
    piece_counts = count_pieces([texts] if isinstance(texts, str) else texts, pattern)
    merges = learn_merges(piece_counts, vocab_size - smallest, alphabet, min_count, progress)
    tokenizer = Tokenizer(merges, pattern=pattern, alphabet=alphabet, special_tokens=special_tokens)
    if tokenizer.vocab_size < vocab_size:
        warnings.warn(
            f"no pair is left that occurs {min_count} times: the vocabulary has "
            f"{tokenizer.vocab_size} tokens instead of {vocab_size}; use more text, a smaller "
            "vocab_size or a smaller min_count",
            stacklevel=2,
        )
    return tokenizer


def count_pieces(texts: Iterable[str], pattern: str) -> Counter[str]:
    """How often each piece occurs in the texts."""
    compiled = compile_pattern(pattern)
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(cut(text, compiled))
    return counts


def learn_merges(
    piece_counts: Counter[str],
    n_tokens: int,
    alphabet: Sequence[int] = range(256),
    min_count: int = 2,
    progress: bool = False,
) -> list[Pair]:
    """The merges that make `n_tokens` new tokens, most frequent pair first."""
    byte_to_id = {byte: index for index, byte in enumerate(alphabet)}
    words = [[byte_to_id[byte] for byte in piece.encode("utf-8")] for piece in piece_counts]
    counts = list(piece_counts.values())

    pair_counts: defaultdict[Pair, int] = defaultdict(int)
    where: defaultdict[Pair, set[int]] = defaultdict(set)  # pair -> words that may hold it
    for index, word in enumerate(words):
        for pair in zip(word, word[1:], strict=False):
            pair_counts[pair] += counts[index]
            where[pair].add(index)

    # Python's heap has the smallest entry on top: negative counts put the most frequent pair
    # there, and among equals the smaller ids.
    heap = [(-count, pair) for pair, count in pair_counts.items()]
    heapq.heapify(heap)

    # Every merge makes a new token: one string of bytes is never joined in two ways (an exercise of
    # the chapter on tokens asks why).
    merges: list[Pair] = []
    with tqdm(total=n_tokens, disable=not progress, unit=" tokens") as bar:
        while heap and len(merges) < n_tokens:
            negative_count, pair = heapq.heappop(heap)
            count = pair_counts.get(pair, 0)
            if -negative_count != count:  # out of date: put it back where it belongs
                if count > 0:
                    heapq.heappush(heap, (-count, pair))
                continue
            if count < min_count:
                break
            merged = 256 + len(merges)
            merges.append(pair)
            bar.update()

            changes = _merge_in_words(pair, merged, words, counts, where)
            del pair_counts[pair]
            changes.pop(pair, None)
            for changed, change in changes.items():
                pair_counts[changed] += change
                if change > 0:
                    heapq.heappush(heap, (-pair_counts[changed], changed))
    return merges


def _merge_in_words(
    pair: Pair,
    merged: int,
    words: list[list[int]],
    counts: list[int],
    where: defaultdict[Pair, set[int]],
) -> dict[Pair, int]:
    """Replace `pair` by `merged` in every word; return by how much each pair's count changes."""
    left, right = pair
    changes: defaultdict[Pair, int] = defaultdict(int)
    for index in where.pop(pair):
        word, count = words[index], counts[index]
        i = 0
        while i < len(word) - 1:
            if word[i] == left and word[i + 1] == right:
                if i > 0:
                    changes[word[i - 1], left] -= count
                    changes[word[i - 1], merged] += count
                    where[word[i - 1], merged].add(index)
                if i + 2 < len(word):
                    changes[right, word[i + 2]] -= count
                    changes[merged, word[i + 2]] += count
                    where[merged, word[i + 2]].add(index)
                word[i : i + 2] = [merged]
            i += 1
    return changes
