"""Labelled texts: stories without their end, what classifiers read, and batches."""

import pytest
import torch

from aigc_lab.data.bpe_training import train_bpe
from aigc_lab.data.chat import START
from aigc_lab.data.labelled import (
    Labelled,
    LabelledTexts,
    encode_for_bert,
    encode_for_gpt,
    wish_stories,
)
from aigc_lab.data.masking import CLS, PAD, SEP, make_masking_tokenizer
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.data.tiny_world.lexicon import FORMS

WORLD = TinyWorld(WorldSettings(mix=(1, 0, 0, 0), n_events=(1, 4)))
TEXTS = [document.text for document in WORLD.documents(100)]


@pytest.mark.parametrize("balanced", [False, True])
def test_the_label_is_what_the_last_sentence_says(balanced):
    examples = wish_stories(WORLD, 80, balanced=balanced)
    whole = {}
    for document in WORLD.documents(900):
        head, _, end = document.text[:-1].rpartition(".")
        whole[head + "."] = end
    endings = {1: FORMS["end with"], 0: FORMS["end without"]}
    for text, label in examples:
        end = whole[text].split()
        forms = [form.rstrip(".").split() for form in endings[label]]
        assert any(
            all(a == b or "{" in b for a, b in zip(end, form, strict=False))
            and len(end) == len(form)
            for form in forms
        )
        assert not text.endswith(whole[text])
    n_true = sum(label for _, label in examples)
    assert n_true == 40 if balanced else 4 < n_true < 36
    assert len(examples) == len({text for text, _ in examples}) == 80


def test_parts_of_the_series_do_not_overlap():
    assert wish_stories(WORLD, 5)[2:] == wish_stories(WORLD, 3, first=2)
    with pytest.raises(ValueError, match="documents without a wish"):
        wish_stories(TinyWorld(), 3)


def test_what_gpt_reads():
    tokenizer = train_bpe(TEXTS, 400, special_tokens=[START])
    start = tokenizer.special_tokens[START]
    tokens, mask = encode_for_gpt(tokenizer, [TEXTS[0], "Mei.", START], 30)
    assert (tokens[:, 0] == start).all() and mask[:, 0].all()
    assert tokens.shape == mask.shape == (3, 30) and mask[0].all()
    for row, text in enumerate([TEXTS[0], "Mei.", START]):
        ids = tokens[row][mask[row]].tolist()
        assert ids == [start, *tokenizer.encode(text)][:30]
        assert not mask[row, len(ids) :].any()
        assert start not in ids[1:]  # what looks like a special token is ordinary text
    with pytest.raises(ValueError, match="texts is empty"):
        encode_for_gpt(tokenizer, [], 5)
    with pytest.raises(ValueError, match=r"has no '<\|endoftext\|>'"):
        encode_for_gpt(make_masking_tokenizer(TEXTS, 400), ["a"], 5)


def test_what_bert_reads():
    tokenizer = make_masking_tokenizer(TEXTS, 400)
    special = tokenizer.special_tokens
    tokens, mask = encode_for_bert(tokenizer, [TEXTS[0], "Mei."], 20)
    ids = tokenizer.encode(TEXTS[0])[:18]
    assert tokens[0].tolist() == [special[CLS], *ids, special[SEP]]
    assert torch.equal(mask, tokens != special[PAD]) and not mask[1].all()


def test_each_text_comes_once_before_any_comes_again():
    examples = [Labelled(str(number), number % 2) for number in range(7)]

    def encode(texts):
        tokens = torch.tensor([[int(text)] for text in texts])
        return tokens, torch.ones_like(tokens, dtype=torch.bool)

    source = LabelledTexts(examples, encode, 3, seed=1)
    seen = [int(n) for step in range(14) for n in source.batch(step).tokens[:, 0]]
    rounds = [seen[at : at + 7] for at in range(0, 42, 7)]
    assert all(sorted(round_) == list(range(7)) for round_ in rounds)
    assert len({tuple(round_) for round_ in rounds}) > 1
    batch = source.batch(4)
    assert torch.equal(batch.labels, batch.tokens[:, 0] % 2)
    assert torch.equal(batch.tokens, source.batch(4).tokens)
    assert batch.n_targets == 3 and batch.shape == (3, 1)
    assert torch.equal(batch.to("cpu").labels, batch.labels)
    other = LabelledTexts(examples, encode, 3, seed=2)
    assert any(source.numbers(step) != other.numbers(step) for step in range(3))
    for wrong in (([], 1), (examples, 0)):
        with pytest.raises(ValueError, match="both must be at least 1"):
            LabelledTexts(wrong[0], encode, wrong[1])
