"""Sentence pairs as batches."""

import pytest
import torch

from aigc_lab.data.sentence_batches import (
    END,
    PAD,
    START,
    PairSource,
    Vocabularies,
    Vocabulary,
    batch_of_pairs,
)
from aigc_lab.data.tiny_world.translation import SPLITS, SentencePairs
from aigc_lab.data.tokenizer import TokenizerFileError

PAIRS = list(SentencePairs().pairs(2000))
VOCABULARIES = Vocabularies.of(PAIRS)
ENGLISH, CHINESE = VOCABULARIES.source, VOCABULARIES.target


def test_every_sentence_survives_encoding_in_every_split():
    for split in SPLITS:
        for pair in SentencePairs(7, split).pairs(300):
            assert ENGLISH.decode(ENGLISH.encode(pair.english)) == list(pair.english)
            assert CHINESE.decode([START, *CHINESE.encode(pair.chinese), END, 9]) == list(
                pair.chinese
            )


def test_the_decoder_reads_what_it_has_to_predict_one_place_later():
    batch = batch_of_pairs(PAIRS[:20], VOCABULARIES)
    assert batch.read.shape == batch.targets.shape
    assert (batch.read[:, 0] == START).all()
    for row, pair in enumerate(PAIRS[:20]):
        n = len(pair.chinese)
        assert torch.equal(batch.read[row, 1 : n + 1], batch.targets[row, :n])
        assert batch.targets[row, n] == END
        assert (batch.targets[row, n + 1 :] == PAD).all()
        assert (batch.read[row, n + 1 :] == PAD).all()
        assert (batch.source[row, len(pair.english) :] == PAD).all()
    assert (batch.targets[:, -1] != PAD).any() and (batch.source[:, -1] != PAD).any()


def test_steps_go_through_the_series_without_gap_or_repetition():
    source = PairSource(SentencePairs(), VOCABULARIES, 8)
    whole = batch_of_pairs(PAIRS[:24], VOCABULARIES)
    for step in range(3):
        part = source.batch(step).source
        expected = whole.source[8 * step : 8 * step + 8]
        assert torch.equal(part, expected[:, : part.shape[1]])
        assert (expected[:, part.shape[1] :] == PAD).all()


def test_clear_errors():
    with pytest.raises(ValueError, match="'dragon' is not among the 2 words"):
        Vocabulary(["a", "b", "a"]).encode(["dragon"])
    with pytest.raises(ValueError, match="'<end>' is a special token"):
        Vocabulary(["a", "<end>"])
    with pytest.raises(ValueError, match="'<end>' is not among the 1 words"):
        Vocabulary(["a"]).encode(["<end>"])
    with pytest.raises(ValueError, match="pairs is empty"):
        batch_of_pairs([], VOCABULARIES)
    with pytest.raises(ValueError, match="batch_size=0 must be at least 1"):
        PairSource(SentencePairs(), VOCABULARIES, 0)


def test_vocabularies_come_back_from_their_file_in_the_same_order(tmp_path):
    VOCABULARIES.save(tmp_path / "both.json")
    read = Vocabularies.load(tmp_path / "both.json")
    assert read.source.words == ENGLISH.words and read.target.words == CHINESE.words
    assert len(read.source) != len(read.target)  # so that an exchange would be noticed


@pytest.mark.parametrize("content", ["", "{", "[]", '{"source": ["a"]}', '{"source": 3}'])
def test_a_damaged_file_of_vocabularies_is_refused(tmp_path, content):
    (tmp_path / "both.json").write_text(content)
    with pytest.raises(TokenizerFileError, match="holds no two vocabularies"):
        Vocabularies.load(tmp_path / "both.json")


def test_a_batch_tells_training_what_it_has_to_know():
    batch = batch_of_pairs(PAIRS[:7], VOCABULARIES)
    assert batch.n_targets == sum(len(pair.chinese) + 1 for pair in PAIRS[:7])
    assert batch.shape == (7, max(len(pair.chinese) for pair in PAIRS[:7]) + 1)
    moved = batch.to("meta")
    assert {t.device.type for t in (moved.source, moved.read, moved.targets)} == {"meta"}
