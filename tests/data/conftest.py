"""What the tests of aigc_lab.data share: real files, GPT-2's tokenizer twice, hostile text."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import tiktoken
import tiktoken.load
from hostile import (
    CLASSES,
    SURROGATES,
    matched_by_regex,
    matched_by_tiktoken,
    matched_by_tokenizers,
)

from aigc_lab.data.bpe_training import train_bpe
from aigc_lab.data.tokenizer import SINGLE_DIGIT_PATTERN, Tokenizer
from aigc_lab.data.tokenizer_files import GPT2_ALPHABET, from_gpt2_files


@pytest.fixture(scope="session")
def data_file() -> Callable[[str], Path]:
    """Finds a file of real data; a test skips where there is none."""

    def find(name: str) -> Path:
        folder = os.environ.get("AIGC_LAB_DATA")
        if not folder:
            pytest.skip("AIGC_LAB_DATA names no folder with real data")
        path = Path(folder) / name
        if not path.exists():
            pytest.skip(f"{name} is not in AIGC_LAB_DATA")
        return path

    return find


@pytest.fixture(scope="session")
def gpt2(data_file) -> Tokenizer:
    """Our tokenizer from GPT-2's files."""
    return from_gpt2_files(data_file("gpt2_encoder.json"), data_file("gpt2_vocab.bpe"))


@pytest.fixture(scope="session")
def tiktoken_gpt2(data_file) -> tiktoken.Encoding:
    """OpenAI's own tokenizer from the same files, with the pattern that tiktoken has for it."""
    from tiktoken_ext.openai_public import r50k_pat_str

    ranks = tiktoken.load.data_gym_to_mergeable_bpe_ranks(
        str(data_file("gpt2_vocab.bpe")), str(data_file("gpt2_encoder.json"))
    )
    return tiktoken.Encoding(
        "gpt2_from_files",
        pat_str=r50k_pat_str,
        mergeable_ranks=ranks,
        special_tokens={"<|endoftext|>": 50256},
    )


@pytest.fixture(scope="session")
def small_tokenizers() -> dict[str, Tokenizer]:
    """Tokenizers that need no file: no merges, trained, single digits, runs, special tokens."""
    text = (
        "the cat sat on the mat, the cat's hat; 1024 1024 2048 aaaaaaaaaaa aaaaaa aaaa aaa\n\n"
        "你好你好 世界 😀😀👍🏽 naïve café el niño\t\tit's we're I'll   spaces    spaces\r\n"
    ) * 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return {
            "bytes": Tokenizer(),
            "gpt2 alphabet": Tokenizer(alphabet=GPT2_ALPHABET),
            "trained": train_bpe(text, 400),
            "single digits": train_bpe(text, 400, pattern=SINGLE_DIGIT_PATTERN),
            "across spaces": train_bpe(text, 500, pattern=r"[\s\S]+", alphabet=GPT2_ALPHABET),
            "special": train_bpe(text, 300, special_tokens=("<|end|>", "<|endoftext|>")),
        }


@pytest.fixture(scope="session")
def all_characters() -> str:
    """Every code point of Unicode, the unassigned too; of private and empty planes only some."""
    rich_planes = (0, 1, 2, 3, 14)
    codes = (code for code in range(0x110000) if code >> 16 in rich_planes or code % 256 < 2)
    return "".join(chr(code) for code in codes if code not in SURROGATES)


@pytest.fixture(scope="session")
def classes_by_library(all_characters) -> dict[str, dict[str, set[str]]]:
    """Which characters each library counts to each class of the patterns."""
    ways = {
        "regex": matched_by_regex,
        "tiktoken": matched_by_tiktoken,
        "tokenizers": matched_by_tokenizers,
    }
    return {
        name: {cls: matched(cls, all_characters) for cls in (*CLASSES, r"\p{Cn}")}
        for name, matched in ways.items()
    }


@pytest.fixture(scope="session")
def same_for_all(classes_by_library) -> Callable[[str], str]:
    """Drops the characters that the libraries class differently: newer Unicode, see the test."""
    ours, *others = classes_by_library.values()
    different = set().union(*(ours[cls] ^ other[cls] for other in others for cls in CLASSES))
    table = dict.fromkeys(map(ord, different))
    return lambda text: text.translate(table)
