"""Sentence pairs as batches."""

import pytest
import torch

from aigc_lab.data.sentence_batches import (
    END,
    PAD,
    START,
    PairSource,
    Vocabulary,
    batch_of_pairs,
    vocabularies,
)
from aigc_lab.data.tiny_world.translation import SPLITS, SentencePairs

PAIRS = list(SentencePairs().pairs(2000))
ENGLISH, CHINESE = vocabularies(PAIRS)


def test_every_sentence_survives_encoding_in_every_split():
    for split in SPLITS:
        for pair in SentencePairs(7, split).pairs(300):
            assert ENGLISH.decode(ENGLISH.encode(pair.english)) == list(pair.english)
            assert CHINESE.decode([START, *CHINESE.encode(pair.chinese), END, 9]) == list(
                pair.chinese
            )


def test_the_decoder_reads_what_it_has_to_predict_one_place_later():
    batch = batch_of_pairs(PAIRS[:20], ENGLISH, CHINESE)
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
    source = PairSource(SentencePairs(), ENGLISH, CHINESE, 8)
    whole = batch_of_pairs(PAIRS[:24], ENGLISH, CHINESE)
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
        batch_of_pairs([], ENGLISH, CHINESE)
    with pytest.raises(ValueError, match="batch_size=0 must be at least 1"):
        PairSource(SentencePairs(), ENGLISH, CHINESE, 0)
