"""aigc_lab.data.tokenizer against tiktoken, a naive merge loop, hostile text and damaged files."""

import itertools
import json
import os
import random

import numpy as np
import pytest
import regex
import torch
from hostile import CLASSES, TEXT_FILES, hostile_text
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aigc_lab.data import tokenizer as module
from aigc_lab.data.tokenizer import (
    GPT2_PATTERN,
    SINGLE_DIGIT_PATTERN,
    Tokenizer,
    TokenizerFileError,
    compile_pattern,
)

many = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
END = "<|endoftext|>"


# -------------------------------------------------------------------- against tiktoken


@pytest.mark.parametrize("name", TEXT_FILES)
def test_gpt2_ids_equal_tiktokens_on_whole_files(name, data_file, gpt2, tiktoken_gpt2):
    text = data_file(name).read_text(encoding="utf-8")
    ids = gpt2.encode(text)
    assert ids == tiktoken_gpt2.encode_ordinary(text)
    assert gpt2.decode(ids) == text


@many
@given(hostile_text())
@example("'s 'S 're  're\n\n 'll")
@example(" \n  a\x1c\x1c b\u2028\u3000c   ")
@example("a" * 300 + " " * 300 + "1" * 300 + "." * 300)
def test_gpt2_ids_equal_tiktokens_on_any_text(gpt2, tiktoken_gpt2, same_for_all, text):
    text = same_for_all(text)
    assert gpt2.encode(text) == tiktoken_gpt2.encode_ordinary(text)


def test_gpt2_ids_equal_tiktokens_on_every_character(
    gpt2, tiktoken_gpt2, same_for_all, all_characters
):
    text = same_for_all(all_characters)
    # In order; then each between letters and spaces, where its class decides the cuts. Of the
    # long alphabets every 16th character is enough.
    some = text[:0x3000] + text[0x3000::16]
    for variant in (text, "".join(f"x{character} {character}" for character in some)):
        assert gpt2.encode(variant) == tiktoken_gpt2.encode_ordinary(variant)


@pytest.mark.parametrize("other", ["tiktoken", "tokenizers"])
def test_libraries_differ_only_on_characters_newer_than_one_of_them(classes_by_library, other):
    """Each library brings its own version of Unicode.

    A character that one calls a letter and the other does not may only be one that the other
    does not know yet. White space, which decides the most cuts, is the same everywhere.
    """
    ours, theirs = classes_by_library["regex"], classes_by_library[other]
    unknown_to_one = ours[r"\p{Cn}"] ^ theirs[r"\p{Cn}"]
    for cls in CLASSES:
        assert ours[cls] ^ theirs[cls] <= unknown_to_one, cls
    assert ours[r"\s"] == theirs[r"\s"]
    assert len(ours[r"\s"]) == 25
    assert not ours[r"\s"] & set("\x1c\x1d\x1e\x1f\u200b")


def test_gpt2_special_token(gpt2, tiktoken_gpt2):
    text = f"one{END} two {END}{END}<|endoftext|"
    assert gpt2.special_tokens == {END: 50256}
    assert gpt2.encode(text, [END]) == tiktoken_gpt2.encode(text, allowed_special={END})
    assert gpt2.encode(text) == tiktoken_gpt2.encode(text, disallowed_special=())
    assert 50256 not in gpt2.encode(text)
    assert gpt2.vocab_size == 50257


# -------------------------------------------------------------------- the merges


def merge_naively(tokenizer: Tokenizer, data: bytes) -> list[int]:
    """Repeat: find the earliest learned merge that fits anywhere, apply it where leftmost."""
    ids = [tokenizer.alphabet.index(byte) for byte in data]
    while True:
        fitting = [
            (tokenizer.merges.index(pair), place)
            for place, pair in enumerate(itertools.pairwise(ids))
            if pair in tokenizer.merges
        ]
        if not fitting:
            return ids
        _, place = min(fitting)
        token = tokenizer.vocabulary[ids[place]] + tokenizer.vocabulary[ids[place + 1]]
        ids[place : place + 2] = [tokenizer.vocabulary.index(token)]


def random_tokenizer(generator: random.Random, letters: str, n_merges: int) -> Tokenizer:
    """Merges in an order that no training would give; many make a token that exists already."""
    made = [ord(letter) for letter in letters]
    merges: list[tuple[int, int]] = []
    while len(merges) < n_merges:
        pair = generator.choice(made), generator.choice(made)
        if pair not in merges:
            merges.append(pair)
            made = [*made[: len(letters)], *range(256, Tokenizer(merges).vocab_size)]
    return Tokenizer(merges, pattern=r"[\s\S]+")


@pytest.mark.parametrize("seed", range(60))
def test_merging_equals_naive_merging(seed):
    generator = random.Random(seed)
    letters = generator.choice(["a", "ab", "abc"])
    tokenizer = random_tokenizer(generator, letters, generator.randint(1, 25))
    for _ in range(30):
        data = "".join(generator.choices(letters, k=generator.randint(0, 40))).encode()
        assert tokenizer.encode(data.decode()) == merge_naively(tokenizer, data), data


def test_some_random_tokenizers_make_a_token_in_two_ways():
    """Otherwise the test above would not try what it should."""
    tokenizers = [random_tokenizer(random.Random(seed), "ab", 25) for seed in range(20)]
    assert any(len(t.merges) > t.vocab_size - 256 for t in tokenizers)


def test_merges_apply_in_order_and_from_the_left():
    a, b, c = b"abc"
    bc_first = Tokenizer([(b, c), (a, b)])
    assert bc_first.encode("abc") == [a, 256]
    ab_first = Tokenizer([(a, b), (b, c)])
    assert ab_first.encode("abc") == [256, c]
    assert Tokenizer([(a, a)]).encode("aaa") == [256, a]
    # Two ways to "aaa": one id, and the merge that follows from either.
    two_ways = Tokenizer([(a, a), (256, a), (a, 256), (257, b)])
    assert two_ways.vocabulary[256:] == [b"aa", b"aaa", b"aaab"]
    assert two_ways.encode("aaab") == [258]


def test_a_very_long_piece_is_no_special_case(small_tokenizers):
    """200,000 letters without a space: quadratic work would take hours."""
    tokenizer = small_tokenizers["trained"]
    text = "cataaaathe" * 20_000
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert len(ids) < len(text)


# -------------------------------------------------------------------- there and back


@pytest.mark.parametrize(
    "name", ["bytes", "gpt2 alphabet", "trained", "single digits", "across spaces", "special"]
)
def test_decoding_gives_the_text_back(small_tokenizers, name):
    tokenizer = small_tokenizers[name]

    @many
    @given(hostile_text())
    def check(text):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids, errors="strict") == text
        assert "".join(tokenizer.pieces(text)) == text
        assert tokenizer.encode_bytes(text.encode()) == ids

    @many
    @given(st.one_of(st.binary(max_size=60), st.binary().map(lambda data: b"\xed\xa0\x80" + data)))
    def check_bytes(data):
        assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data

    check()
    check_bytes()


@many
@given(hostile_text(), st.binary(max_size=40))
def test_gpt2_gives_text_and_bytes_back(gpt2, text, data):
    assert gpt2.decode(gpt2.encode(text), errors="strict") == text
    assert gpt2.decode_bytes(gpt2.encode_bytes(data)) == data


def test_bytes_do_not_spoil_what_is_remembered_for_text():
    tokenizer = Tokenizer([(0xC3, 0xA9)])
    assert tokenizer.encode_bytes(b"\xc3") == [0xC3]
    assert tokenizer.encode("é") == [256]
    assert tokenizer.encode_bytes("é".encode()) == [256]
    assert tokenizer.encode_bytes(b"\xa9\xc3") == [0xA9, 0xC3]


def test_forgetting_changes_no_ids(monkeypatch, small_tokenizers):
    text = " ".join(f"the cat {number} sat" for number in range(50)) + "x" * 100
    forgetful = Tokenizer(small_tokenizers["trained"].merges)
    expected = forgetful.encode(text)
    monkeypatch.setattr(module, "_MOST_REMEMBERED_PIECES", 3)
    monkeypatch.setattr(module, "_LONGEST_REMEMBERED_PIECE", 4)
    forgetful._remembered.clear()
    assert forgetful.encode(text) == expected == forgetful.encode(text)
    assert 0 < len(forgetful._remembered) <= 3
    assert max(map(len, forgetful._remembered)) == 4


def test_what_is_remembered_cannot_be_changed_from_outside():
    tokenizer = Tokenizer([(ord("a"), ord("b"))])
    tokenizer.encode("ab").append(7)
    assert tokenizer.encode("ab") == [256]


def test_empty_text(small_tokenizers):
    for tokenizer in small_tokenizers.values():
        assert tokenizer.encode("") == []
        assert tokenizer.encode("", list(tokenizer.special_tokens)) == []
        assert tokenizer.encode_bytes(b"") == []
        assert tokenizer.decode([]) == ""


def test_single_digit_pattern():
    pieces = Tokenizer(pattern=SINGLE_DIGIT_PATTERN).pieces("in 1024 and x10²")
    assert pieces == ["in", " ", "1", "0", "2", "4", " and", " x", "1", "0", "²"]
    assert Tokenizer().pieces("in 1024 it's  so\n\n x") == [
        "in", " 1024", " it", "'s", " ", " so", "\n\n", " x",
    ]  # fmt: skip


def test_decoding_half_a_character():
    tokenizer = Tokenizer()
    half = tokenizer.encode("é")[:1]
    assert tokenizer.decode(half) == "\ufffd"
    with pytest.raises(UnicodeDecodeError):
        tokenizer.decode(half, errors="strict")


# -------------------------------------------------------------------- special tokens


@many
@given(hostile_text(), st.sampled_from([END, "<|end|>", END + END, "<|end", "x" + END]))
def test_user_text_never_becomes_special(small_tokenizers, text, hostile):
    tokenizer = small_tokenizers["special"]
    text = text[: len(text) // 2] + hostile + text[len(text) // 2 :]
    ids = tokenizer.encode(text)
    assert not set(ids) & set(tokenizer.special_tokens.values())
    assert tokenizer.decode(ids) == text
    only_one = tokenizer.encode(text, ["<|end|>"])
    assert tokenizer.special_tokens[END] not in only_one
    assert only_one.count(tokenizer.special_tokens["<|end|>"]) == text.count("<|end|>")
    assert tokenizer.decode(tokenizer.encode(text, ["<|end|>", END])) == text


def test_allowed_special_tokens():
    tokenizer = Tokenizer(special_tokens=["<a>", "<b>"])
    assert tokenizer.special_tokens == {"<a>": 256, "<b>": 257}
    x = ord("x")
    assert tokenizer.encode("x<a>x<b>", ["<a>", "<b>"]) == [x, 256, x, 257]
    assert tokenizer.encode("<a><b>", {"<b>"}) == [*b"<a>", 257]
    assert tokenizer.decode([256, x, 257]) == "<a>x<b>"
    assert tokenizer.encode("<a", ["<a>"]) == [*b"<a"]


@pytest.mark.parametrize("names", [*itertools.permutations(["<e", "<e>", "<e>x", "(.*)"])])
def test_overlapping_names_the_longest_wins(names):
    tokenizer = Tokenizer(special_tokens=names)
    ids = tokenizer.encode("<e>x<e><e<e(.*)", names)
    assert ids == [tokenizer.special_tokens[n] for n in ["<e>x", "<e>", "<e", "<e", "(.*)"]]


def test_a_special_token_cuts_pieces_and_merges():
    a = ord("a")
    tokenizer = Tokenizer([(a, a)], special_tokens=["<s>"])
    assert tokenizer.encode("a<s>aa", ["<s>"]) == [a, 257, 256]


@pytest.mark.parametrize("names", [["<a>", "<a>"], [""], ["<a>", ""]])
def test_bad_special_tokens(names):
    with pytest.raises(ValueError, match="is empty or comes twice") as caught:
        Tokenizer(special_tokens=names)
    assert repr(names[-1]) in str(caught.value)


def test_bad_allowed_special():
    tokenizer = Tokenizer(special_tokens=["<a>"])
    with pytest.raises(ValueError, match=r"\['<b>'\].*has only \['<a>'\]"):
        tokenizer.encode("x", ["<a>", "<b>"])
    with pytest.raises(TypeError, match=r"allowed_special must be a list of names: \['<a>'\]"):
        tokenizer.encode("x", "<a>")


# -------------------------------------------------------------------- bad arguments


def test_merges_of_unknown_tokens():
    with pytest.raises(ValueError, match=r"merge 1 joins \(258, 97\).*token 258.*0 to 256"):
        Tokenizer([(97, 98), (258, 97)])
    with pytest.raises(ValueError, match=r"merge 0 joins \(97, 256\).*token 256.*0 to 255"):
        Tokenizer([(97, 256)])
    with pytest.raises(ValueError, match=r"merge 0 joins \(-1, 97\).*token -1"):
        Tokenizer([(-1, 97)])
    with pytest.raises(ValueError, match=r"merge 2 repeats merge 0: \(97, 98\)"):
        Tokenizer([(97, 98), (98, 98), (97, 98)])
    with pytest.raises(TypeError):
        Tokenizer([(97.5, 98)])
    assert Tokenizer([(0, 255)]).vocabulary[256] == b"\x00\xff"


@pytest.mark.parametrize("alphabet", [range(255), range(257), [0, *range(255)], []])
def test_bad_alphabet(alphabet):
    with pytest.raises(ValueError, match="alphabet must hold each byte value from 0 to 255"):
        Tokenizer(alphabet=alphabet)


def test_bad_patterns():
    with pytest.raises(ValueError, match=r"capturing groups.*\(\?:"):
        Tokenizer(pattern=r"(\p{L})+|\s+")
    with pytest.raises(ValueError, match=r"'\[a' is not a regular expression: "):
        Tokenizer(pattern="[a")
    assert compile_pattern(r"(?:a|b)+").groups == 0
    words_only = Tokenizer(pattern=r"\w+")
    assert words_only.encode("abc") == [*b"abc"]
    with pytest.raises(ValueError, match=r"\\\\w\+.*skips some characters of 'a b'.*add an alter"):
        words_only.encode("a b")


def test_text_that_is_no_text():
    tokenizer = Tokenizer()
    with pytest.raises(TypeError, match=r"text must be a str, not bytes; for bytes: encode_bytes"):
        tokenizer.encode(b"abc")
    with pytest.raises(TypeError, match=r"not NoneType"):
        tokenizer.encode(None)
    with pytest.raises(ValueError, match=r"text\[2\] is the lone surrogate U\+D83D") as caught:
        tokenizer.encode("ab\ud83d")
    # The remedy in the message works: a pair becomes its character, a lone one is replaced.
    assert 'text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")' in str(caught.value)
    broken = "\ud83d\ude00 \ud83d!"
    cleaned = broken.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert tokenizer.decode(tokenizer.encode(cleaned)) == cleaned
    assert cleaned[0] == "😀"


@pytest.mark.parametrize("bad", [-1, 257, 10**9, np.int64(-1)])
def test_ids_out_of_range(bad):
    tokenizer = Tokenizer([(97, 98)])
    with pytest.raises(ValueError, match=rf"token id {bad} at position 1 .*ids 0 to 256; was the"):
        tokenizer.decode([256, bad])
    with pytest.raises(ValueError, match=rf"token id {bad} is out of range"):
        tokenizer.token_bytes(bad)


@pytest.mark.parametrize("bad", [97.0, "97", None, np.float32(97), torch.tensor(97.0)])
def test_ids_that_are_no_integers(bad):
    with pytest.raises(TypeError, match=r"token id .* at position 1 is not an integer"):
        Tokenizer().decode([98, bad])
    with pytest.raises(TypeError, match=r"token id .* is not an integer"):
        Tokenizer().token_bytes(bad)


def test_ids_of_numpy_and_torch():
    tokenizer = Tokenizer([(97, 98)])
    ids = [256, 97, 0]
    for dtype in (np.int32, np.int64, np.uint16):
        assert tokenizer.decode(np.array(ids, dtype)) == "aba\0"
    for dtype in (torch.int32, torch.int64):
        assert tokenizer.decode(torch.tensor(ids, dtype=dtype)) == "aba\0"
    assert tokenizer.decode(iter(ids)) == "aba\0"
    assert Tokenizer(np.array([[97, 98]])).merges == [(97, 98)]


def test_repr(small_tokenizers):
    text = repr(small_tokenizers["special"])
    assert text == "Tokenizer(vocab_size=300, merges=42, special_tokens=['<|end|>', END])".replace(
        "END", repr(END)
    )


# -------------------------------------------------------------------- files


def same(one: Tokenizer, other: Tokenizer) -> bool:
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("merges", "vocabulary", "alphabet", "pattern", "special_tokens")
    )


def test_saving_and_loading(tmp_path, small_tokenizers):
    for number, tokenizer in enumerate(small_tokenizers.values()):
        path = tmp_path / f"{number}.json"
        tokenizer.save(path)
        loaded = Tokenizer.load(str(path))
        assert same(loaded, tokenizer)
        text = "the cat's hat 1024 你好 😀 aaaaa"
        assert loaded.encode(text) == tokenizer.encode(text)
    assert len(list(tmp_path.iterdir())) == len(small_tokenizers)  # and no temporary files


def test_a_file_cut_anywhere(tmp_path):
    path, cut = tmp_path / "whole.json", tmp_path / "cut.json"
    Tokenizer([(97, 98)], special_tokens=["<é>"]).save(path)
    data = path.read_bytes()
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        with pytest.raises(
            TokenizerFileError, match=r"cut\.json is not whole JSON .*copy or train"
        ):
            Tokenizer.load(cut)


@pytest.fixture
def saved(tmp_path):
    """Writes a good file with some entries changed (None: left out)."""

    def save(**changes):
        path = tmp_path / "tokenizer.json"
        Tokenizer([(97, 98), (256, 99)], special_tokens=["<s>"]).save(path)
        content = json.loads(path.read_bytes()) | changes
        path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
        return path

    return save


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, r"has version 2; this code reads version 1: update aigc_lab"),
        ({"version": "1"}, r"has version '1'; this code reads version 1"),
        ({"version": None}, r"has version None"),
        ({"format": "other"}, r"has format 'other', not 'aigc_lab.tokenizer'.*from_gpt2_files"),
        ({"format": None}, r"has format None, not 'aigc_lab.tokenizer'"),
        ({"merges": None}, r"has no entry 'merges'; it is damaged"),
        ({"pattern": None}, r"has no entry 'pattern'"),
        ({"alphabet": None}, r"has no entry 'alphabet'"),
        ({"special_tokens": None}, r"has no entry 'special_tokens'"),
        ({"vocab_size": None}, r"promises None tokens but its merges make 259"),
        ({"merges": [[97, 98]]}, r"promises 259 tokens but its merges make 258.*copy or train"),
        ({"merges": [[97, 98], [300, 97]]}, r"is damaged: merge 1 joins .*token 300"),
        ({"merges": [[97, 98], [256]]}, r"is damaged: "),
        ({"merges": [[97, 98], [256, 98.5]]}, r"is damaged: "),
        ({"merges": 5}, r"is damaged: "),
        ({"pattern": "[a"}, r"is damaged: pattern '\[a'"),
        ({"pattern": 5}, r"is damaged: "),
        ({"alphabet": list(range(255))}, r"is damaged: alphabet"),
        ({"special_tokens": ["<s>", "<s>"]}, r"is damaged: special token '<s>'"),
    ],
)
def test_a_file_with_bad_content(saved, changes, message):
    path = saved(**changes)
    with pytest.raises(TokenizerFileError, match=message) as caught:
        Tokenizer.load(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("data", [b"[]", b"5", b"null", b'{"a": 97}', b'"text"'])
def test_a_file_of_another_format(tmp_path, data):
    path = tmp_path / "other.json"
    path.write_bytes(data)
    with pytest.raises(TokenizerFileError, match=r"has format None.*from_gpt2_files"):
        Tokenizer.load(path)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"\x80\x02", b"#version: 0.2\na b\n"])
def test_a_file_that_is_no_json(tmp_path, data):
    path = tmp_path / "other.bin"
    path.write_bytes(data)
    with pytest.raises(TokenizerFileError, match="is not whole JSON"):
        Tokenizer.load(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.json"):
        Tokenizer.load(tmp_path / "absent.json")


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_interrupted_saving_leaves_the_old_file(tmp_path, monkeypatch, function):
    path = tmp_path / "tokenizer.json"
    old = Tokenizer([(97, 98)])
    old.save(path)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, function, interrupt)
    with pytest.raises(KeyboardInterrupt):
        Tokenizer([(98, 97)]).save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]
    assert same(Tokenizer.load(path), old)


def test_the_patterns_are_those_of_the_sources():
    assert GPT2_PATTERN == (
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    )
    assert regex.findall(SINGLE_DIGIT_PATTERN, "a 12") == ["a", " ", "1", "2"]


@pytest.mark.parametrize("names", ["<|end|>", [5], [None]])
def test_special_tokens_must_be_a_list_of_names(names):
    with pytest.raises(TypeError, match="special_tokens must be a list of names"):
        Tokenizer(special_tokens=names)


def test_loading_deeply_nested_json(tmp_path):
    path = tmp_path / "t.json"
    path.write_text("[" * 100_000)
    with pytest.raises(module.TokenizerFileError, match="not whole JSON"):
        Tokenizer.load(path)
