"""Masking by the 80/10/10 rule, and pairs of story parts."""

import math

import numpy as np
import pytest
import torch

from aigc_lab.data.masking import (
    CLS,
    IS_NEXT,
    IS_NOT_NEXT,
    MASK,
    PAD,
    SEP,
    SPECIAL,
    StoryPairs,
    cut,
    encode_pairs,
    make_masking_tokenizer,
    mask_tokens,
)
from aigc_lab.data.synthetic import NO_TARGET
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.data.tokenizer import Tokenizer

STORIES = WorldSettings(mix=(1, 0, 0, 0), n_events=(1, 3))


@pytest.fixture(scope="module")
def tokenizer():
    texts = (document.text for document in TinyWorld(STORIES).documents(200))
    return make_masking_tokenizer(texts, 500)


def ids_of(tokenizer, *names):
    return [tokenizer.special_tokens[name] for name in names]


# --------------------------------------------------------------------------------------- the rule


def masked(tokenizer, share=0.15, n_rows=400, width=100, seed=0):
    """Rows of one ordinary token between [CLS] and [SEP]; what is read, and what is asked."""
    cls, sep = ids_of(tokenizer, CLS, SEP)
    row = torch.tensor([cls, *[ord("a")] * (width - 2), sep])
    tokens = row.expand(n_rows, -1)
    return tokens, *mask_tokens(tokens, tokenizer, np.random.default_rng(seed), share)


def near(count, n, p):
    """Whether a count of n independent draws is within four standard deviations."""
    return abs(count - n * p) < 4 * math.sqrt(n * p * (1 - p))


def test_the_80_10_10_rule(tokenizer):
    tokens, read, targets = masked(tokenizer)
    chosen = targets != NO_TARGET
    n = int(chosen.sum())
    assert n == 400 * round(0.15 * 98)  # the share of the ordinary tokens, in every row
    assert torch.equal(targets[chosen], tokens[chosen])
    assert torch.equal(read[~chosen], tokens[~chosen])
    (mask,) = ids_of(tokenizer, MASK)
    is_mask = read[chosen] == mask
    n_ordinary = tokenizer.vocab_size - len(SPECIAL)
    is_same = read[chosen] == tokens[chosen]
    assert near(is_mask.sum(), n, 0.8)
    assert near(is_same.sum(), n, 0.1 + 0.1 / n_ordinary)  # chance may draw the same again
    other = read[chosen & (read != mask) & (read != tokens)]
    assert near(len(other), n, 0.1 * (1 - 1 / n_ordinary))


def test_random_tokens_are_spread_over_the_vocabulary(tokenizer):
    tokens, read, targets = masked(tokenizer, share=1.0, n_rows=2000)
    (mask,) = ids_of(tokenizer, MASK)
    other = read[(targets != NO_TARGET) & (read != mask) & (read != tokens)]
    n_ordinary = tokenizer.vocab_size - len(SPECIAL)
    assert other.min() >= 0 and other.max() < n_ordinary  # never [PAD], [CLS], [SEP], [MASK]
    counts = torch.bincount(other, minlength=n_ordinary).double()
    assert counts[ord("a")] == 0 and (counts > 0).sum() == n_ordinary - 1
    expected = len(other) / (n_ordinary - 1)
    chi2 = ((counts - expected) ** 2 / expected).sum() - expected  # all but "a"
    assert abs(chi2 - (n_ordinary - 2)) < 5 * math.sqrt(2 * n_ordinary)


def test_every_place_is_chosen_equally_often(tokenizer):
    _, _, targets = masked(tokenizer, n_rows=3000, width=22)
    counts = (targets != NO_TARGET).sum(0)
    assert counts[0] == counts[-1] == 0  # [CLS] and [SEP]
    assert all(near(int(count), 3000, 3 / 20) for count in counts[1:-1])


def test_special_tokens_and_padding_are_never_chosen(tokenizer):
    tokens, mask, _ = encode_pairs(
        tokenizer, [("One day.", " Two."), ("A", " much longer one")], 99
    )
    _, targets = mask_tokens(tokens, tokenizer, np.random.default_rng(0), 1.0)
    special = torch.isin(tokens, torch.tensor(ids_of(tokenizer, *SPECIAL)))
    assert torch.equal(targets == NO_TARGET, special)
    assert (~mask).any() and special[~mask].all()


def test_a_short_row_has_one_target_at_least(tokenizer):
    tokens, _, _ = encode_pairs(tokenizer, ["a"], 9)
    _, targets = mask_tokens(tokens, tokenizer, np.random.default_rng(0))
    assert (targets != NO_TARGET).sum() == 1


# -------------------------------------------------------------------------------------- the pairs


def test_layout_of_a_pair(tokenizer):
    tokens, mask, segments = encode_pairs(tokenizer, [("One day.", " She ran."), "One"], 99)
    cls, sep, pad = ids_of(tokenizer, CLS, SEP, PAD)
    first, second = tokenizer.encode("One day."), tokenizer.encode(" She ran.")
    assert tokens[0].tolist() == [cls, *first, sep, *second, sep]
    n = len(first) + 2
    assert segments[0].tolist() == [0] * n + [1] * (len(second) + 1)
    alone = [cls, *tokenizer.encode("One"), sep]
    assert tokens[1].tolist() == alone + [pad] * (tokens.shape[1] - len(alone))
    assert mask[1].tolist() == [True] * len(alone) + [False] * (tokens.shape[1] - len(alone))
    assert not segments[1].any() and mask[0].all()


def test_text_never_becomes_a_special_token(tokenizer):
    tokens, _, _ = encode_pairs(tokenizer, ["a [MASK] [SEP] b [PAD]"], 99)
    assert torch.isin(tokens, torch.tensor(ids_of(tokenizer, *SPECIAL))).sum() == 2


def test_a_long_pair_loses_the_end_of_its_longer_part(tokenizer):
    first, second = "b" * 30, "cd" * 3
    tokens, _, _ = encode_pairs(tokenizer, [(first, second)], 20, shorten=True)
    kept = tokenizer.encode(first)[: 20 - 3 - len(tokenizer.encode(second))]
    assert tokens.shape == (1, 20) and tokens[0, 1 : 1 + len(kept)].tolist() == kept
    assert tokenizer.decode(tokens[0, len(kept) + 2 : -1]) == second


def test_cut_keeps_sentences_whole():
    story = "One day Mei ran. She sat. The end."
    parts = {cut(story, np.random.default_rng(seed)) for seed in range(50)}
    assert parts == {
        ("One day Mei ran.", " She sat. The end."),
        ("One day Mei ran. She sat.", " The end."),
    }
    with pytest.raises(ValueError, match="has one sentence"):
        cut("The end.", np.random.default_rng(0))


@pytest.mark.parametrize("pairing", ["next", "order", "true"])
def test_labels_tell_the_truth(tokenizer, pairing):
    world = TinyWorld(STORIES)
    source = StoryPairs(world, tokenizer, 50, pairing=pairing)
    seen = []
    for step in range(4):
        pairs, labels = source.pairs(step)
        for row, ((first, second), label) in enumerate(zip(pairs, labels, strict=True)):
            story = world.document(step * 50 + row).text
            before = world.document(step * 50 + (row - 1) % 50).text
            if label == IS_NEXT:
                assert first + second == story
            elif pairing == "next":
                assert story.startswith(first) and before.endswith(second)
            else:
                assert second + first == story
        seen += labels
    if pairing == "true":
        assert set(seen) == {IS_NEXT}
    else:
        assert near(seen.count(IS_NOT_NEXT), 200, 0.5)


def test_a_batch_is_a_function_of_the_step(tokenizer):
    def source(seed=0):
        return StoryPairs(TinyWorld(STORIES), tokenizer, 8, seed=seed)

    one = source()
    one.batch(0)
    a, b = one.batch(5), source().batch(5)
    for name in ("tokens", "targets", "attention_mask", "segments", "labels"):
        assert torch.equal(getattr(a, name), getattr(b, name))
    other = source(seed=1).batch(5)
    assert a.shape != other.shape or not torch.equal(a.tokens, other.tokens)


def test_masks_are_drawn_anew_for_each_step(tokenizer, monkeypatch):
    source = StoryPairs(TinyWorld(STORIES), tokenizer, 4)
    pairs = source.pairs(0)
    monkeypatch.setattr(source, "pairs", lambda step: pairs)  # the same stories come again
    one, two = source.batch(0), source.batch(1)
    assert torch.equal(one.segments, two.segments)
    assert not torch.equal(one.targets, two.targets)


def test_batch(tokenizer):
    batch = StoryPairs(TinyWorld(STORIES), tokenizer, 8, max_length=60).batch(3)
    assert batch.shape == batch.tokens.shape == batch.targets.shape and batch.shape[1] <= 60
    assert batch.n_targets == (batch.targets != NO_TARGET).sum()
    n = batch.attention_mask.sum(1) - 3
    chosen = (batch.targets != NO_TARGET).sum(1)
    assert torch.equal(chosen, torch.from_numpy(np.rint(0.15 * n.numpy())).long())
    assert batch.to("cpu").n_targets == batch.n_targets
    assert batch.to("meta").tokens.is_meta and batch.to("meta").labels.is_meta


def test_clear_errors(tokenizer):
    world = TinyWorld(STORIES)
    with pytest.raises(ValueError, match=r"tokenizer lacks the special tokens \['\[PAD\]'"):
        StoryPairs(world, Tokenizer(), 8)
    with pytest.raises(ValueError, match="documents that are no stories"):
        StoryPairs(TinyWorld(), tokenizer, 8)
    with pytest.raises(ValueError, match="pairing='random' is not one of"):
        StoryPairs(world, tokenizer, 8, pairing="random")
    with pytest.raises(ValueError, match="share=15 must be above 0 and at most 1"):
        StoryPairs(world, tokenizer, 8, share=15)
    with pytest.raises(ValueError, match="batch_size=1 must be at least 2"):
        StoryPairs(world, tokenizer, 1)
    with pytest.raises(ValueError, match=r"pair 1 has 12 tokens .* more than max_length=11"):
        encode_pairs(tokenizer, ["a", "0123456789"], 11)
    with pytest.raises(ValueError, match="pairs is empty"):
        encode_pairs(tokenizer, [], 11)
    only = torch.tensor([[97], [tokenizer.special_tokens[PAD]]])
    with pytest.raises(ValueError, match="row 1 of tokens has special tokens only"):
        mask_tokens(only, tokenizer, np.random.default_rng(0))
