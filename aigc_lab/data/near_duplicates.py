"""Near-duplicates in a corpus: MinHash makes texts comparable, LSH avoids comparing all pairs.

    text → set of shingles → signature of K minima → b bands of r = K/b rows → pairs → clusters

Two texts are alike when their sets of shingles (runs of n words) have a large Jaccard similarity
J = |A ∩ B| / |A ∪ B|. Under a random hash, the smallest element of A ∪ B is equally likely to be
any of its elements; it is the smallest of both A and B when it lies in A ∩ B, with probability J.
So the share of K hashes whose minima agree estimates J, with standard error √(J(1−J)/K). All pairs
are still too many to compare: locality-sensitive hashing (LSH) compares only those that agree on
all rows of at least one band, which happens with probability 1 − (1 − Jʳ)ᵇ.

Sources: Broder 1997 (shingles, MinHash), Indyk and Motwani 1998 (LSH), Lee et al. 2022 (what
duplicates do to language models).
"""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

# A word is a run of letters and digits; of Chinese, which has no spaces, every character.
_WORD = re.compile(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+")
_ALL_ONES = np.uint64(2**64 - 1)  # the minimum of nothing


def normalise(text: str) -> str:
    """Make texts equal that a reader would call the same: Unicode form, case and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def shingles(text: str, n_words: int = 3) -> frozenset[str]:
    """The set of all runs of `n_words` words, after `normalise`; punctuation does not count.

    A text with fewer words is one shingle as a whole, and a text without any word (such as "?!")
    is its own shingle. Only an empty text has none.

    Raises:
        ValueError: `n_words` is below 1.
    """
    if n_words < 1:
        raise ValueError(f"n_words={n_words} must be at least 1")
    text = normalise(text)
    words = _WORD.findall(text) or text.split()
    if not words:
        return frozenset()
    last = max(1, len(words) - n_words + 1)
    return frozenset(" ".join(words[start : start + n_words]) for start in range(last))


def jaccard(a: frozenset, b: frozenset) -> float:
    """|A ∩ B| / |A ∪ B|; two empty sets are equal, so 1."""
    union = len(a | b)
    return len(a & b) / union if union else 1.0


def signature(items: Iterable[str], n_hashes: int = 128, seed: int = 0) -> np.ndarray:
    """The smallest hash of a set under each of K hash functions.

    Args:
        items: the set.
        n_hashes: number of hash functions K.
        seed: draws the hash functions; only signatures of one seed can be compared.

    Returns:
        `(K,)` uint64.

    Raises:
        ValueError: `n_hashes` is below 1.
    """
    if n_hashes < 1:
        raise ValueError(f"n_hashes={n_hashes} must be at least 1")
    # Python's own hash() of a string differs from process to process; this one does not.
    digests = [hashlib.blake2b(item.encode("utf-8", "surrogatepass"), digest_size=8).digest()
               for item in set(items)]  # fmt: skip
    if not digests:
        return np.full(n_hashes, _ALL_ONES)
    hashed = np.frombuffer(b"".join(digests), dtype="<u8")  # (n,)
    salts = np.random.default_rng(seed).integers(0, 2**64, n_hashes, dtype=np.uint64)
    return _mix(hashed ^ salts[:, None]).min(axis=1)


def _mix(x: np.ndarray) -> np.ndarray:
    """Stir 64 bits so that each depends on all; products wrap around at 2⁶⁴.

    Source: the last steps of splitmix64, Steele et al. 2014.
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def estimated_jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Share of equal minima in two signatures `(K,)`: estimates the sets' Jaccard similarity.

    Raises:
        ValueError: signatures of different lengths.
    """
    if a.shape != b.shape:
        raise ValueError(f"signatures of shapes {a.shape} and {b.shape}: use one n_hashes for both")
    return float((a == b).mean())


def candidate_probability(similarity: float, n_bands: int, n_rows: int) -> float:
    """How likely two texts of this Jaccard similarity agree in at least one band: 1 − (1 − Jʳ)ᵇ.

    As a function of J it is an S-curve, steepest near (1/b)^(1/r).
    """
    return 1 - (1 - similarity**n_rows) ** n_bands


def candidate_pairs(signatures: np.ndarray, n_bands: int = 32) -> list[tuple[int, int]]:
    """Pairs of texts that agree on all rows of some band, each with the smaller index first.

    Args:
        signatures: `(N, K)` uint64, one row per text.
        n_bands: number of bands b, which divides K.

    Returns:
        Sorted pairs. A bucket of n texts gives n(n−1)/2 of them, so take equal texts out first.

    Raises:
        ValueError: `n_bands` does not divide K.
    """
    n_texts, n_hashes = signatures.shape
    if n_bands < 1 or n_hashes % n_bands:
        raise ValueError(f"n_bands={n_bands} must divide the number of hashes, {n_hashes}")
    pairs = set()
    for band in np.split(signatures, n_bands, axis=1):
        buckets = defaultdict(list)
        for index in range(n_texts):
            buckets[band[index].tobytes()].append(index)
        for bucket in buckets.values():
            pairs.update(combinations(bucket, 2))
    return sorted(pairs)


def clusters(n: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Groups of two or more that are connected by pairs, directly or through others (union-find).

    Args:
        n: number of texts, 0 .. n−1.
        pairs: which belong together.

    Returns:
        Sorted groups of sorted indices.
    """
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]  # halve the way for the next who asks
            i = parent[i]
        return i

    for a, b in pairs:
        a, b = sorted((root(a), root(b)))
        parent[b] = a
    groups = defaultdict(list)
    for i in range(n):
        groups[root(i)].append(i)
    return [group for group in groups.values() if len(group) > 1]


def near_duplicates(
    texts: Sequence[str],
    threshold: float = 0.7,
    *,
    n_words: int = 3,
    n_hashes: int = 128,
    n_bands: int = 32,
    seed: int = 0,
) -> list[list[int]]:
    """Clusters of texts that are nearly the same.

    LSH proposes pairs, the true Jaccard similarity of their shingles decides. Clusters are
    connected: the first and the last of A ~ B ~ C may be less alike than the threshold.

    Args:
        texts: the corpus.
        threshold: smallest Jaccard similarity of near-duplicates, above 0 and at most 1.
        n_words: length of a shingle.
        n_hashes, n_bands, seed: of the signatures and the bands.

    Returns:
        Sorted clusters of sorted indices; keep the first of each.

    Raises:
        ValueError: a threshold outside (0, 1], or sizes that do not fit.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold} must be above 0 and at most 1")
    first: dict[frozenset, int] = {}  # where each set of shingles came first
    pairs = [
        (first.setdefault(shingles(text, n_words), index), index)
        for index, text in enumerate(texts)
    ]
    sets, indices = list(first), list(first.values())
    if sets:
        signatures = np.stack([signature(items, n_hashes, seed) for items in sets])
        pairs += [
            (indices[a], indices[b])
            for a, b in candidate_pairs(signatures, n_bands)
            if jaccard(sets[a], sets[b]) >= threshold
        ]
    return clusters(len(texts), pairs)
