"""Text for the tests of tokenizers, and what libraries think of single characters."""

import regex
import tiktoken
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

TEXT_FILES = (
    "tinyshakespeare.txt",
    "the-verdict.txt",
    "tinystories_sample.txt",
    "sms_spam.tsv",
    "instruction-data.json",
    "instruction-data-with-preference.json",
    "README.md",
    "gpt2_vocab.bpe",
)
SURROGATES = range(0xD800, 0xE000)
CLASSES = (r"\p{L}", r"\p{N}", r"\s")


# Runs of matching characters, not single ones, because each match costs time.


def matched_by_regex(character_class: str, text: str) -> set[str]:
    return set("".join(regex.findall(f"{character_class}+", text)))


def matched_by_tiktoken(character_class: str, text: str) -> set[str]:
    single_bytes = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding(
        "bytes", pat_str=f"{character_class}+", mergeable_ranks=single_bytes, special_tokens={}
    )
    return set(encoding.decode(encoding.encode_ordinary(text)))  # what matches nowhere is left out


def matched_by_tokenizers(character_class: str, text: str) -> set[str]:
    split = pre_tokenizers.Split(Regex(f"{character_class}+"), "removed")
    left: set[str] = set()
    for start in range(0, len(text), 4096):  # its work grows faster than the text
        left.update(*(piece for piece, _ in split.pre_tokenize_str(text[start : start + 4096])))
    return set(text) - left


def hostile_text(max_chunks: int = 12) -> st.SearchStrategy[str]:
    """Text of everything that a splitting pattern may trip over."""
    spaces = " \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\u200b"
    anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    chunks = st.one_of(
        anything,
        st.text(spaces, min_size=1, max_size=6),
        st.text("0123456789٣४½²Ⅳ一", min_size=1, max_size=5),
        st.text("abeE'stm ", min_size=1, max_size=10),
        st.text("a\u0301\u0308\u200d\ufe0f🏽👩\u0000\u007f\ufeff", min_size=1, max_size=6),
        st.text("你好世界カタ한글עברערб", min_size=1, max_size=6),
        st.sampled_from(["'s", "'re", "'ll", "'LL", "’s", "<|endoftext|>", "https://a.b/?c=1&d"]),
    )
    return st.lists(chunks, max_size=max_chunks).map("".join)
