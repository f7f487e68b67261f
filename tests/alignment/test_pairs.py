"""Batches of preferences: chosen beside rejected, all of them once an epoch, clear errors."""

from collections import Counter

import pytest
import torch

from aigc_lab.alignment.pairs import PairSource, make_pair_batch
from aigc_lab.data.chat import decode_reply, encode_prompt
from aigc_lab.data.preferences import Preference
from aigc_lab.models.shipped import load_shipped

PREFERENCES = [
    Preference((("user", f"Tell me a story about {name}."),), f"{name} ran.", f"{name} sat.", n)
    for n, name in enumerate(["Mei", "Omar", "Yuki", "Kofi", "Leila", "Arjun", "Freya"])
]


@pytest.fixture(scope="module")
def tokenizer():
    return load_shipped("chat")[1]


def texts_of(tokenizer, batch):
    rows = zip(batch.replies.replies, batch.replies.reply_mask, strict=True)
    return [decode_reply(tokenizer, ids[mask].tolist()) for ids, mask in rows]


def test_chosen_replies_come_first_and_rejected_ones_after(tokenizer):
    batch = make_pair_batch(tokenizer, PREFERENCES[:3], 100)
    chosen = [p.chosen for p in PREFERENCES[:3]]
    assert texts_of(tokenizer, batch) == chosen + [p.rejected for p in PREFERENCES[:3]]
    assert batch.n_targets == 3 and batch.shape == batch.replies.tokens.shape
    assert batch.margins.tolist() == [0, 1, 2]
    prompts = batch.replies.tokens[:, : batch.replies.n_prompt]
    assert torch.equal(prompts[:3], prompts[3:])
    mask = batch.replies.attention_mask[:, : batch.replies.n_prompt]
    assert prompts[0][mask[0]].tolist() == encode_prompt(tokenizer, PREFERENCES[0].messages)


def test_an_unknown_margin_is_none(tokenizer):
    plain = Preference((("user", "Hi"),), "Ho", "No")
    assert make_pair_batch(tokenizer, [plain], 50).margins.tolist() == [0]


def test_each_preference_comes_once_an_epoch_in_an_order_of_its_seed(tokenizer):
    source = PairSource(tokenizer, PREFERENCES, 100, 2, seed=1)
    assert source.batches_per_epoch == 3
    for epoch in (0, 1):
        seen = Counter()
        for step in range(3):
            seen.update(texts_of(tokenizer, source.batch(3 * epoch + step))[:2])
        assert len(seen) == 6 and set(seen.values()) == {1}
    first = texts_of(tokenizer, source.batch(0))
    assert first == texts_of(tokenizer, PairSource(tokenizer, PREFERENCES, 100, 2, 1).batch(0))
    others = [PairSource(tokenizer, PREFERENCES, 100, 2, seed).batch(0) for seed in range(2, 6)]
    assert any(texts_of(tokenizer, other) != first for other in others)
    assert any(texts_of(tokenizer, source.batch(3 * e)) != first for e in (1, 2, 3))


def test_errors_name_what_is_wrong(tokenizer):
    with pytest.raises(ValueError, match="no preferences"):
        make_pair_batch(tokenizer, [], 100)
    long = Preference((("user", "kite " * 60),), "Ho", "No")
    with pytest.raises(ValueError, match=r"row 1: .* longer than the context of 50"):
        make_pair_batch(tokenizer, [Preference((("user", "Hi"),), "Ho", "No"), long], 50)
    for batch_size in (0, 8):
        with pytest.raises(ValueError, match=f"batch_size={batch_size} .* 7"):
            PairSource(tokenizer, PREFERENCES, 100, batch_size)
