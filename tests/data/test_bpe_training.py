"""aigc_lab.data.bpe_training against the `tokenizers` library and against counting anew."""

import itertools
import json
import random
import warnings
from collections import Counter

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as OtherTokenizer

from aigc_lab.data import bpe_training
from aigc_lab.data.bpe_training import count_pieces, train_bpe
from aigc_lab.data.tokenizer import GPT2_PATTERN, SINGLE_DIGIT_PATTERN, Tokenizer
from aigc_lab.data.tokenizer_files import GPT2_ALPHABET, byte_characters

ANYTHING = r"[\s\S]+"


@pytest.fixture
def quiet():
    """Small corpora run out of pairs; that warning has a test of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="no pair is left")
        yield


# -------------------------------------------------------------------- against tokenizers


def merges_of_tokenizers(texts: list[str], n_merges: int, pattern: str) -> list[list[str]]:
    other = OtherTokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    other.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    trainer = trainers.BpeTrainer(
        vocab_size=256 + n_merges,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    other.train_from_iterator(texts, trainer)
    return json.loads(other.to_str())["model"]["merges"]


def spelled_merges(tokenizer: Tokenizer) -> list[list[str]]:
    characters = byte_characters()

    def spell(token: int) -> str:
        return "".join(characters[byte] for byte in tokenizer.vocabulary[token])

    return [[spell(left), spell(right)] for left, right in tokenizer.merges]


def check_against_tokenizers(texts: list[str], n_merges: int, pattern: str = GPT2_PATTERN) -> int:
    ours = train_bpe(texts, 256 + n_merges, pattern=pattern, alphabet=GPT2_ALPHABET)
    expected = merges_of_tokenizers(texts, n_merges, pattern)
    assert spelled_merges(ours) == expected
    return len(expected)


@pytest.mark.parametrize(
    ("name", "n_merges", "pattern"),
    [
        ("tinyshakespeare.txt", 8000, GPT2_PATTERN),
        ("sms_spam.tsv", 3000, SINGLE_DIGIT_PATTERN),
        ("the-verdict.txt", 1500, GPT2_PATTERN),
    ],
)
def test_merges_equal_tokenizers_on_real_text(data_file, quiet, name, n_merges, pattern):
    text = data_file(name).read_text(encoding="utf-8")
    assert check_against_tokenizers([text], n_merges, pattern) > 1000


@pytest.mark.parametrize(
    "text",
    [
        "abcdefghijklmnopqrstuvwxyz" * 2,  # every pair equally often
        " ".join(f"{x}{y}" for x in "abcdef" for y in "fedcba") * 2,
        "aaaa aaa aa a aaaaaaaaaaaaa " * 3,
        "你好世界你好世界，你好！世界" * 2,
        "👍🏽👍🏽😀👍🏽😀😀👩‍👩‍👧👩‍👩‍👧",
        "a\n\n\n\nb    c\t\t\t\td\r\n\r\n" * 2,
        "\x00\x00\x00\x7f\xad\xad\xa0\xa0" * 2,
    ],
)
def test_merges_equal_tokenizers_on_adversarial_text(quiet, text):
    assert check_against_tokenizers([text], 200) > 3


@pytest.mark.parametrize("block", range(10))
def test_merges_equal_tokenizers_on_random_text(quiet, block):
    for seed in range(40 * block, 40 * (block + 1)):
        generator = random.Random(seed)
        letters = generator.choice(["a", "ab", "aab ", "abc", "你好 ", "aé😀 ", "ab1 "])
        texts = [
            "".join(generator.choices(letters, k=generator.randint(0, 60)))
            for _ in range(generator.randint(1, 4))
        ]
        check_against_tokenizers(texts, generator.randint(1, 40))


# -------------------------------------------------------------------- against counting anew


def train_by_counting_anew(texts, n_tokens, pattern, alphabet, min_count) -> list[tuple[int, int]]:
    """The rule, literally: count all pairs, join the most frequent (the smaller ids if equal)."""
    pieces = Counter(piece for text in texts for piece in regex.findall(pattern, text))
    words = {p: [alphabet.index(b) for b in p.encode()] for p in pieces}
    vocabulary = [bytes([byte]) for byte in alphabet]
    merges = []
    while len(vocabulary) < 256 + n_tokens:
        counts: Counter[tuple[int, int]] = Counter()
        for piece, word in words.items():
            for pair in itertools.pairwise(word):
                counts[pair] += pieces[piece]
        if not counts:
            break
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        if counts[pair] < min_count:
            break
        token = vocabulary[pair[0]] + vocabulary[pair[1]]
        if token not in vocabulary:
            vocabulary.append(token)
        if pair not in merges:
            merges.append(pair)
        for word in words.values():
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == pair:
                    word[i : i + 2] = [vocabulary.index(token)]
                i += 1
    return merges


@pytest.mark.parametrize("block", range(10))
def test_merges_equal_counting_anew(quiet, block):
    for seed in range(40 * block, 40 * (block + 1)):
        generator = random.Random(seed)
        letters = generator.choice(["a", "ab", "aab ", "abc", "你好 ", "abcdefgh "])
        texts = [
            "".join(generator.choices(letters, k=generator.randint(0, 50)))
            for _ in range(generator.randint(1, 3))
        ]
        pattern = generator.choice([GPT2_PATTERN, ANYTHING])
        alphabet = generator.choice([tuple(range(256)), GPT2_ALPHABET, tuple(range(255, -1, -1))])
        min_count = generator.choice([1, 2, 2, 3])
        n_tokens = generator.randint(0, 30)
        tokenizer = train_bpe(
            texts, 256 + n_tokens, pattern=pattern, alphabet=alphabet, min_count=min_count
        )
        expected = train_by_counting_anew(texts, n_tokens, pattern, alphabet, min_count)
        assert tokenizer.merges == expected, seed
        assert tokenizer.alphabet == alphabet
        assert tokenizer.pattern == pattern


def test_the_example_of_the_paper():
    """Sennrich et al. 2016, section 3.2, with the end of a word written as a full stop."""
    words = ["low."] * 5 + ["lower."] * 2 + ["newest."] * 6 + ["widest."] * 3
    tokenizer = train_bpe(words, 256 + 10, pattern=ANYTHING)
    assert [tokenizer.vocabulary[i] for i in tokenizer.encode("lowest.")] == [b"low", b"est."]


# -------------------------------------------------------------------- arguments


def test_the_tokenizer_encodes_what_it_was_trained_on():
    text = "the cat and the hat and the cat"
    tokenizer = train_bpe(text, 265, special_tokens=["<a>", "<b>"], alphabet=GPT2_ALPHABET)
    assert tokenizer.vocab_size == 265
    assert tokenizer.special_tokens == {"<a>": 263, "<b>": 264}
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(text)) < len(text) / 2


def test_no_piece_crosses_from_one_text_to_the_next(quiet):
    assert train_bpe(["ab"] * 3, 300, pattern=ANYTHING).vocabulary[256:] == [b"ab"]
    assert train_bpe("ababab", 300, pattern=ANYTHING).vocabulary[256:] == [b"ab", b"abab"]
    assert train_bpe((text for text in ["a", "b", "a", "b"]), 300, pattern=ANYTHING).merges == []


def test_counting_pieces():
    counts = count_pieces(["a a a", "a b"], GPT2_PATTERN)
    assert counts == {"a": 2, " a": 2, " b": 1}


@pytest.mark.parametrize("min_count", [2, 3])
def test_rare_pairs_are_not_merged(min_count):
    with pytest.warns(UserWarning, match=rf"no pair is left that occurs {min_count} times"):
        tokenizer = train_bpe(
            ["ab"] * min_count + ["cd"] * (min_count - 1), 300, min_count=min_count
        )
    assert tokenizer.vocabulary[256:] == [b"ab"]


def test_a_text_with_too_few_pairs():
    message = (
        r"occurs 2 times: the vocabulary has 259 tokens instead of 400; use more text, a smaller "
        r"vocab_size or a smaller min_count"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        tokenizer = train_bpe("abc abc", 400, special_tokens=["<s>"])
    assert tokenizer.vocab_size == 259
    assert caught[0].filename == __file__  # points at the caller's line


@pytest.mark.parametrize("texts", ["", [], [""]])
def test_no_text(texts):
    with pytest.warns(UserWarning, match="has 256 tokens instead of 257"):
        assert train_bpe(texts, 257).merges == []


def test_the_smallest_vocabularies(recwarn):
    assert train_bpe("aaaa", 256).merges == []
    assert train_bpe("aaaa", 257, special_tokens=["<s>"]).merges == []
    assert train_bpe("aaaa", 257).merges == [(97, 97)]
    assert len(recwarn) == 0


def test_vocab_size_too_small():
    with pytest.raises(
        ValueError, match=r"vocab_size=255 is too small: .* 0 special tokens need 256"
    ):
        train_bpe("text", 255)
    with pytest.raises(
        ValueError, match=r"vocab_size=257 is too small: .* 2 special tokens need 258"
    ):
        train_bpe("text", 257, special_tokens=["<a>", "<b>"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pattern": "(a)"}, "capturing groups"),
        ({"pattern": "[a"}, "is not a regular expression"),
        ({"alphabet": range(255)}, "alphabet must hold each byte value"),
        ({"special_tokens": ["<s>", "<s>"]}, "'<s>' is empty or comes twice"),
    ],
)
def test_bad_arguments_are_an_error_before_the_work(monkeypatch, arguments, message):
    monkeypatch.setattr(bpe_training, "count_pieces", lambda *_: pytest.fail("worked in vain"))
    with pytest.raises(ValueError, match=message):
        train_bpe("text", 300, **arguments)


def test_progress_bar(capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    text = "the cat and the hat and the cat"
    silent = train_bpe(text, 260)
    assert capsys.readouterr().err == ""
    shown = train_bpe(text, 260, progress=True)
    assert shown.merges == silent.merges
    assert "4/4" in capsys.readouterr().err


def test_text_that_the_pattern_skips_is_not_lost():
    with pytest.raises(ValueError, match="skips some characters"):
        train_bpe("hello world", 300, pattern=r"\w+")


@given(st.lists(st.text("ab", min_size=1, max_size=12), min_size=1, max_size=8))
def test_no_two_merges_spell_the_same_bytes(pieces):
    merges = bpe_training.learn_merges(Counter(pieces), 40, min_count=1)
    spelled = [bytes([byte]) for byte in range(256)]
    for left, right in merges:
        spelled.append(spelled[left] + spelled[right])
    assert len(set(spelled)) == len(spelled)
