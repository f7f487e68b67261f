"""Training and encoding beside the `tokenizers` library and tiktoken."""

import warnings

import tiktoken
from tokenizers import Tokenizer as PeerTokenizer
from tokenizers import models, pre_tokenizers, trainers

from aigc_lab.data.bpe_training import train_bpe
from aigc_lab.data.download import find_data
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.data.tokenizer_files import GPT2_ALPHABET
from benchmarks.timing import Result, median_seconds

SLOWEST_TRAINING = 10.0  # times as long as the Rust library
SLOWEST_ENCODING = 1.0  # MB/s


def load_text() -> tuple[str, str]:
    """A text and where it is from."""
    try:
        return find_data("tinyshakespeare.txt").read_text(encoding="utf-8"), "tinyshakespeare"
    except FileNotFoundError:
        from pydoc_data.topics import topics

        return "\n".join(topics.values()), "Python's own help texts (tinyshakespeare is not there)"


def train_ours(text: str, n_merges: int) -> Tokenizer:
    """Our tokenizer; that a small text has too few pairs is no news here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="no pair is left")
        return train_bpe(text, 256 + n_merges, alphabet=GPT2_ALPHABET)


def train_peer(text: str, n_merges: int) -> PeerTokenizer:
    """The Rust library, with the same alphabet, pattern and rule for rare pairs."""
    peer = PeerTokenizer(models.BPE())
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=256 + n_merges,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    peer.train_from_iterator([text], trainer)
    return peer


def as_tiktoken(tokenizer: Tokenizer) -> tiktoken.Encoding:
    """The same vocabulary in tiktoken."""
    ranks = {token: index for index, token in enumerate(tokenizer.vocabulary)}
    return tiktoken.Encoding(
        "same", pat_str=tokenizer.pattern, mergeable_ranks=ranks, special_tokens={}
    )


def run(n_merges: int, repeats: int, max_characters: int | None = None) -> list[Result]:
    """Measure training, then encoding with what was trained.

    Raises:
        RuntimeError: the implementations do not give the same ids; then times say nothing.
    """
    text, source = load_text()
    text = text[:max_characters]
    megabytes = len(text.encode("utf-8")) / 1e6
    task = f"{megabytes:.2f} MB of {source}"

    tokenizer, peer = train_ours(text, n_merges), train_peer(text, n_merges)
    ours, theirs = median_seconds(
        lambda: train_ours(text, n_merges), lambda: train_peer(text, n_merges), repeats=repeats
    )
    training = Result(
        task=f"learn {len(tokenizer.merges):,} merges from {task}",
        ours=f"{ours:.2f} s",
        peers=f"tokenizers {theirs:.2f} s",
        ratio=f"{ours / theirs:.1f}x",
        promise=f"at most {SLOWEST_TRAINING:g}x",
        kept=ours / theirs <= SLOWEST_TRAINING,
    )

    other = as_tiktoken(tokenizer)
    ids = tokenizer.encode(text)  # also warms up: from now on the words are remembered
    if not ids == peer.encode(text).ids == other.encode_ordinary(text):
        raise RuntimeError("the tokenizers give different ids for the same text and merges")
    times = median_seconds(
        lambda: tokenizer.encode(text),
        lambda: peer.encode(text),
        lambda: other.encode_ordinary(text),
        repeats=repeats,
    )
    speeds = [megabytes / seconds for seconds in times]
    encoding = [
        Result(
            task=f"encode {task}",
            ours=f"{speeds[0]:.2f} MB/s",
            peers=f"{name} {speed:.2f} MB/s",
            ratio=f"{speed / speeds[0]:.1f}x",
            promise=f"at least {SLOWEST_ENCODING:g} MB/s",
            kept=speeds[0] >= SLOWEST_ENCODING,
        )
        for name, speed in (("tokenizers", speeds[1]), ("tiktoken", speeds[2]))
    ]
    return [training, *encoding]
