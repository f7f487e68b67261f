"""Greedy and beam decoding of an encoder–decoder, against brute force."""

import itertools

import pytest
import torch

from aigc_lab.data.sentence_batches import END, PAD, START
from aigc_lab.generation.translate import beam_translate, translate
from aigc_lab.models.recurrent import RecurrentConfig, RecurrentTranslator
from aigc_lab.models.transformer import Transformer, TransformerConfig

SOURCE = torch.tensor([[3, 5, 4], [6, 3, PAD], [5, 5, 7]])


def models(seed=0, target=6, std=0.7):
    torch.manual_seed(seed)
    made = [
        Transformer(TransformerConfig(9, target, d_model=8, n_heads=2, max_length=12)),
        RecurrentTranslator(RecurrentConfig(9, target, d_model=8, max_length=12)),
    ]
    for model in made:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=std)
    return made


@torch.no_grad()
def log_probability(model, source, tokens):
    """Of these tokens and an end, by one pass over the whole."""
    logits = model(source, torch.tensor([[START, *tokens]])).log_softmax(dim=-1)[0]
    return sum(logits[i, t].item() for i, t in enumerate([*tokens, END]))


@pytest.mark.parametrize("number", [0, 1])
def test_greedy_takes_the_most_likely_token_and_rows_do_not_disturb_each_other(number):
    lengths = set()
    for seed in range(6):
        model = models(seed, target=30, std=(0.3, 1.5)[number])[number]
        found = translate(model, SOURCE, 8)
        for row, source in enumerate(SOURCE):
            alone = source[source != PAD][None]
            tokens = [START]
            while len(tokens) < 9:
                new = model(alone, torch.tensor([tokens]))[0, -1].argmax().item()
                if new == END:
                    break
                tokens.append(new)
            assert found[row] == tokens[1:]
            lengths.add(len(found[row]))
    assert len(lengths) > 1  # some end by themselves


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_wide_beams_find_the_best_of_all_translations(number, penalty):
    for seed in range(3):
        model = models(seed, target=5)[number]  # two words besides the special tokens
        source = SOURCE[:1]
        every = [list(words) for n in range(5) for words in itertools.product([3, 4], repeat=n)]
        scored = {
            tuple(words): log_probability(model, source, words) / (len(words) + 1) ** penalty
            for words in every
        }
        best = sorted(scored, key=scored.get, reverse=True)
        found = beam_translate(model, source, 4, n_beams=40, length_penalty=penalty)
        assert [tuple(f.tokens) for f in found][:10] == best[:10]
        for f in found:
            assert f.score == pytest.approx(scored[tuple(f.tokens)], abs=1e-4)
            assert f.log_probability == pytest.approx(
                log_probability(model, source, f.tokens), abs=1e-4
            )


def test_more_beams_find_better_translations():
    better = 0
    for seed in range(12):
        model = models(seed, target=30, std=0.3)[0]
        one, many = (beam_translate(model, SOURCE[:1], 8, n)[0].score for n in (1, 8))
        assert many >= one - 1e-6
        better += many > one + 1e-3
    assert better >= 3


def test_the_mode_of_the_model_is_left_as_it_was():
    model = models()[0].train()
    translate(model, SOURCE, 4)
    beam_translate(model, SOURCE[:1], 4)
    assert model.training


def test_clear_errors():
    model = models()[0]
    with pytest.raises(ValueError, match="max_length=12 must lie between 1 and 11"):
        translate(model, SOURCE, 12)
    with pytest.raises(ValueError, match=r"source \(3, 3\) must be one sentence"):
        beam_translate(model, SOURCE, 4)
    with pytest.raises(ValueError, match="n_beams=0"):
        beam_translate(model, SOURCE[:1], 4, n_beams=0)
