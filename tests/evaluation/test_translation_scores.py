"""Scores of translations, from models whose translations are known."""

import pytest
import sacrebleu
import torch
from torch import nn

from aigc_lab.data.sentence_batches import END, PAD, START, Vocabularies
from aigc_lab.data.tiny_world.translation import SPLITS, SentencePairs
from aigc_lab.evaluation import translation
from aigc_lab.evaluation.translation import (
    alignment_accuracy,
    attention_maps,
    scores_by_split,
    translate_pairs,
    translation_scores,
)
from aigc_lab.models.recurrent import RecurrentConfig, RecurrentTranslator
from aigc_lab.models.transformer import Transformer, TransformerConfig

PAIRS = list(SentencePairs(3).pairs(150))
VOCABULARIES = Vocabularies.of(SentencePairs().pairs(2000))
SIZES = len(VOCABULARIES.source), len(VOCABULARIES.target)


class Oracle(nn.Module):
    """Knows the translation of each source; `spoil` changes what it knows."""

    config = TransformerConfig(*SIZES, max_length=120)

    def __init__(self, spoil=lambda characters: characters):
        super().__init__()
        self.known = {}
        for pair in PAIRS:
            ids = VOCABULARIES.target.encode(spoil(list(pair.chinese)))
            self.known[tuple(VOCABULARIES.source.encode(pair.english))] = [*ids, END]

    def encode(self, source):
        return source, source != PAD

    def decode(self, target, memory, mask):
        logits = torch.zeros(*target.shape, SIZES[1])
        for row, (read, source) in enumerate(zip(target.tolist(), memory.tolist(), strict=True)):
            ids = self.known[tuple(i for i in source if i != PAD)]
            assert read[0] == START
            for t in range(len(read)):
                logits[row, t, ids[min(t, len(ids) - 1)]] = 20.0
        return logits, []


@pytest.mark.parametrize("n_beams", [1, 2])
def test_a_perfect_model_has_a_hundred(n_beams):
    some = PAIRS[:20] if n_beams > 1 else PAIRS
    assert translate_pairs(Oracle(), VOCABULARIES, some, n_beams) == [list(p.chinese) for p in some]
    scores = translation_scores(Oracle(), VOCABULARIES, some, n_beams)
    assert scores == {"bleu": pytest.approx(100), "exact": 1.0}


def test_bleu_and_exact_of_a_model_that_makes_known_mistakes():
    def forget_red(characters):
        return [c for c in characters if c != "红"]

    model = Oracle(forget_red)
    scores = translation_scores(model, VOCABULARIES, PAIRS)
    n_right = sum("红" not in pair.chinese for pair in PAIRS)
    assert 0 < n_right < len(PAIRS)
    assert scores["exact"] == n_right / len(PAIRS)
    expected = sacrebleu.corpus_bleu(
        [" ".join(forget_red(pair.chinese)) for pair in PAIRS],
        [[" ".join(pair.chinese) for pair in PAIRS]],
        tokenize="none",
    )
    assert scores["bleu"] == pytest.approx(expected.score, abs=1e-6)


def test_scores_by_split_name_every_split_and_use_new_sentences(monkeypatch):
    asked = {}
    monkeypatch.setattr(
        translation,
        "translation_scores",
        lambda model, vocabularies, pairs, n_beams: (
            asked.setdefault(len(asked), pairs) and len(asked)
        ),
    )
    assert scores_by_split(None, VOCABULARIES, 5) == dict(zip(SPLITS, (1, 2, 3), strict=True))
    assert asked[0] != list(SentencePairs(0).pairs(5))
    assert [len(pairs) for pairs in asked.values()] == [5, 5, 5]


@pytest.mark.parametrize("kind", [Transformer, RecurrentTranslator])
def test_maps_have_a_row_for_each_character_and_the_end(kind):
    torch.manual_seed(0)
    config = {Transformer: TransformerConfig, RecurrentTranslator: RecurrentConfig}[kind]
    model = kind(config(*SIZES, d_model=16)).train()
    pair = PAIRS[0]
    maps = attention_maps(model, VOCABULARIES, pair)
    n_heads = 4 if kind is Transformer else 1
    for weights in maps:
        assert weights.shape == (n_heads, len(pair.chinese) + 1, len(pair.english))
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    assert model.training


@pytest.mark.parametrize("shift", [0, 1])
def test_an_attention_that_follows_the_links_is_all_right_at_its_own_shift_only(shift):
    totals = {0: [0, 0], 1: [0, 0]}
    for pair in PAIRS:
        weights = torch.full((len(pair.chinese) + 1, len(pair.english)), 0.01)
        for english, chinese in pair.links:
            weights[chinese + shift, english] = 1.0
        for tried, total in totals.items():
            right, n = alignment_accuracy(weights, pair, tried)
            total[0] += right
            total[1] += n
    assert totals[shift][0] == totals[shift][1] > 500
    assert totals[1 - shift][0] < 0.8 * totals[1 - shift][1]
