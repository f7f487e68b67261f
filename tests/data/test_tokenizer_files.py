"""aigc_lab.data.tokenizer_files: GPT-2's files in, tokenizer.json out."""

import json
import os

import pytest
from hostile import TEXT_FILES, hostile_text
from hypothesis import HealthCheck, given, settings
from tokenizers import Tokenizer as OtherTokenizer
from tokenizers import pre_tokenizers

from aigc_lab.data.bpe_training import train_bpe
from aigc_lab.data.tokenizer import SINGLE_DIGIT_PATTERN, Tokenizer, TokenizerFileError
from aigc_lab.data.tokenizer_files import (
    GPT2_ALPHABET,
    byte_characters,
    from_gpt2_files,
    to_tokenizer_json,
)

many = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# -------------------------------------------------------------------- the bytes' characters


def test_byte_characters():
    characters = byte_characters()
    assert sorted(characters) == list(range(256))
    assert set(characters.values()) == set(pre_tokenizers.ByteLevel.alphabet())
    for byte in range(256):
        if byte < 0x80:  # a byte that is a whole character: compare with the library
            spelled = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
            assert spelled.pre_tokenize_str(chr(byte))[0][0] == characters[byte]
    assert characters[ord(" ")] == "Ġ"
    assert characters[ord("\n")] == "Ċ"
    assert characters[0xAD] == "Ń"
    assert [characters[byte] for byte in (0x21, 0x7E, 0xA1, 0xAC, 0xAE, 0xFF)] == list("!~¡¬®ÿ")
    assert GPT2_ALPHABET[:3] == (0x21, 0x22, 0x23)
    assert GPT2_ALPHABET[188:191] == (0, 1, 2)


# -------------------------------------------------------------------- out: tokenizer.json


def exported(tokenizer: Tokenizer, folder) -> OtherTokenizer:
    path = folder / "tokenizer.json"
    to_tokenizer_json(tokenizer, path)
    assert [file.name for file in folder.iterdir()] == ["tokenizer.json"]
    return OtherTokenizer.from_file(str(path))


@pytest.fixture(scope="session")
def exported_gpt2(gpt2, tmp_path_factory):
    return exported(gpt2, tmp_path_factory.mktemp("gpt2"))


@pytest.mark.parametrize("name", TEXT_FILES)
def test_exported_gpt2_on_whole_files(name, data_file, gpt2, exported_gpt2):
    text = data_file(name).read_text(encoding="utf-8")
    ids = gpt2.encode(text, list(gpt2.special_tokens))  # that library always recognises them
    assert exported_gpt2.encode(text).ids == ids
    assert exported_gpt2.decode(ids, skip_special_tokens=False) == text


@many
@given(hostile_text())
def test_exported_gpt2_on_any_text(gpt2, exported_gpt2, same_for_all, text):
    text = same_for_all(text)
    assert exported_gpt2.encode(text).ids == gpt2.encode(text, list(gpt2.special_tokens))


def test_exported_gpt2_is_the_librarys_own_gpt2(gpt2, exported_gpt2, data_file):
    vocabulary = json.loads(data_file("gpt2_encoder.json").read_bytes())
    assert exported_gpt2.get_vocab() == vocabulary
    assert exported_gpt2.get_vocab_size() == gpt2.vocab_size


@pytest.mark.parametrize(
    "name", ["bytes", "gpt2 alphabet", "trained", "single digits", "across spaces", "special"]
)
def test_exported_small_tokenizers_on_any_text(small_tokenizers, same_for_all, tmp_path, name):
    tokenizer = small_tokenizers[name]
    other = exported(tokenizer, tmp_path)
    assert other.get_vocab_size() == tokenizer.vocab_size

    @many
    @given(hostile_text())
    def check(text):
        text = same_for_all(text)
        ids = tokenizer.encode(text, list(tokenizer.special_tokens))
        assert other.encode(text).ids == ids
        assert other.decode(ids, skip_special_tokens=False) == text

    check()


def test_exported_trained_tokenizer_on_a_whole_file(data_file, tmp_path):
    text = data_file("sms_spam.tsv").read_text(encoding="utf-8")
    tokenizer = train_bpe(text, 2000, pattern=SINGLE_DIGIT_PATTERN, special_tokens=["<|pad|>"])
    other = exported(tokenizer, tmp_path)
    assert other.encode(text).ids == tokenizer.encode(text)
    assert other.token_to_id("<|pad|>") == 1999
    assert other.decode([1999]) == ""  # special: skipped unless asked for
    assert other.decode([1999], skip_special_tokens=False) == "<|pad|>"


def test_exported_tokenizer_whose_merges_do_not_reach_a_token(tmp_path):
    """ "abc" is a token, but b and c join first: the piece "abc" is a, bc."""
    tokenizer = Tokenizer([(98, 99), (97, 98), (257, 99)], special_tokens=["<s>"])
    other = exported(tokenizer, tmp_path)
    assert tokenizer.vocabulary[258] == b"abc"
    assert tokenizer.encode("abc") == other.encode("abc").ids == [97, 256]
    for text in ("a <s>  b", "a<s>b", "<s> <s>", " <s>\n"):  # it takes no space and needs none
        assert other.encode(text).ids == tokenizer.encode(text, ["<s>"])


@pytest.mark.parametrize("name", ["ab", "a", "Ġ"])
def test_a_special_token_spelled_like_an_ordinary_one(tmp_path, name):
    tokenizer = Tokenizer([(97, 98)], special_tokens=["<s>", name])
    with pytest.raises(ValueError, match=rf"special token '{name}' is spelled like the ordinary"):
        to_tokenizer_json(tokenizer, tmp_path / "tokenizer.json")
    assert list(tmp_path.iterdir()) == []


def test_interrupted_export_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        to_tokenizer_json(Tokenizer(), tmp_path / "tokenizer.json")
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------- in: GPT-2's two files


class GPT2Files:
    """A tiny pair of files: 256 bytes, "ab", " ab" and one special token."""

    def __init__(self, folder):
        self.encoder, self.bpe = folder / "encoder.json", folder / "vocab.bpe"
        self.id_of = {character: i for i, character in enumerate(byte_characters().values())}
        self.id_of |= {"ab": 256, "Ġab": 257, "<|endoftext|>": 258}
        self.lines = ["#version: 0.2", "a b", "Ġ ab", ""]
        self.write()

    def write(self):
        self.encoder.write_text(json.dumps(self.id_of), encoding="utf-8")
        self.bpe.write_text("\n".join(self.lines), encoding="utf-8")
        return self

    def load(self, **arguments):
        return from_gpt2_files(self.encoder, self.bpe, **arguments)

    def refused(self, message):
        with pytest.raises(TokenizerFileError, match=message):
            self.load()


@pytest.fixture
def files(tmp_path) -> GPT2Files:
    return GPT2Files(tmp_path)


def test_good_files(files):
    tokenizer = files.load()
    assert tokenizer.encode(" ab<|endoftext|>", ["<|endoftext|>"]) == [257, 258]
    assert tokenizer.alphabet == GPT2_ALPHABET
    assert tokenizer.vocab_size == 259
    assert from_gpt2_files(str(files.encoder), str(files.bpe)).merges == tokenizer.merges


def test_other_special_tokens(files):
    del files.id_of["<|endoftext|>"]
    files.write()
    files.refused(r"has 0 more tokens.*instead of the special tokens \['<\|endoftext\|>'\]")
    assert files.load(special_tokens=()).vocab_size == 258
    files.id_of |= {"<é>": 258, "<b>": 259}
    assert files.write().load(special_tokens=["<é>", "<b>"]).special_tokens == {
        "<é>": 258,
        "<b>": 259,
    }


def test_encoder_json_cut_anywhere(files):
    data = files.encoder.read_bytes()
    for length in [*range(0, len(data), 17), len(data) - 1]:
        files.encoder.write_bytes(data[:length])
        files.refused(r"encoder\.json is not whole JSON .*download it again")


def test_vocab_bpe_cut_anywhere(files):
    data = files.bpe.read_bytes()
    for length in range(len(data) - 1):  # without its last newline it is still whole
        files.bpe.write_bytes(data[:length])
        files.refused(
            "cut short|does not start with '#version'|is not whole UTF-8 text .*download it again|"
            "do not belong together"  # a name cut to one that exists
        )
    files.bpe.write_bytes(data[:-1])
    assert files.load().vocab_size == 259


def test_vocab_bpe_without_its_last_merge(files):
    """Its token must not turn into a special token without a word."""
    files.lines[2:3] = []
    files.write().refused(r"after the 1 merges of .*vocab\.bpe, .*has 2 more tokens .*'Ġab'.*cut")


@pytest.mark.parametrize("content", ["[]", "5", '"a"', "null", '{"a": "b"}', '{"a": 1.5}'])
def test_encoder_json_of_another_kind(files, content):
    files.encoder.write_text(content)
    files.refused(r"encoder\.json does not give one id to each token")


@pytest.mark.parametrize("line", ["x y z", "a", "a  b", "a unknown", ""])
def test_a_line_that_is_no_merge(files, line):
    files.lines[1] = line
    files.write().refused(
        rf"vocab\.bpe, line 2: {line!r} is not two tokens of .*encoder\.json; the"
    )


def test_a_second_merge_line_is_counted_right(files):
    files.lines[2] = "oops"
    files.write().refused(r"vocab\.bpe, line 3: 'oops'")


def test_a_file_that_is_no_vocab_bpe(files):
    files.lines[0] = "a b"
    files.write().refused(r"vocab\.bpe does not start with '#version'")
    files.bpe.write_bytes(b"")
    files.refused("does not start with '#version'")


def test_files_that_do_not_belong_together(files):
    files.id_of["ab"], files.id_of["Ġab"] = 257, 256
    files.write().refused("is not a GPT-2 vocabulary: merge 1|do not belong together")
    files.id_of["ab"], files.id_of["Ġab"] = 256, 257
    files.lines[1:3] = ["a b", "Ġ a"]
    files.id_of["Ġa"] = files.id_of.pop("<|endoftext|>")
    files.write().refused("instead of the special tokens|do not belong together")


def test_merges_that_make_other_tokens(files):
    files.id_of["ba"] = files.id_of.pop("ab")
    files.lines[1] = "a b"
    files.lines[2] = "Ġ ba"
    files.write().refused("gives '.*' the id .*do not belong together")


@pytest.mark.parametrize("shift", [1, -1])
def test_ids_with_a_gap_or_below_zero(files, shift):
    files.id_of = {
        token: index + shift if shift < 0 or index == 258 else index
        for token, index in files.id_of.items()
    }
    files.write().refused("gives .* the id|is not a GPT-2 vocabulary")


def test_a_token_that_no_byte_spells(files):
    files.id_of["€"] = files.id_of.pop("a")
    files.lines[1] = "€ b"
    files.write().refused(r"encoder\.json is not a GPT-2 vocabulary: '€'")


def test_no_file(files):
    files.bpe.unlink()
    with pytest.raises(FileNotFoundError, match=r"vocab\.bpe"):
        files.load()
    files.encoder.unlink()
    with pytest.raises(FileNotFoundError, match=r"encoder\.json"):
        files.load()


def test_a_token_that_stands_for_no_bytes(tmp_path):
    characters = byte_characters()
    ids = {character: index for index, character in enumerate(characters.values())}
    ids["中"] = 256  # where the merge of "!" and "!" belongs
    encoder, merges = tmp_path / "encoder.json", tmp_path / "vocab.bpe"
    encoder.write_text(json.dumps(ids))
    merges.write_text("#version: 0.2\n! !\n")
    with pytest.raises(TokenizerFileError, match="中"):
        from_gpt2_files(encoder, merges, special_tokens=())
