"""Training on conversations: targets, packing, and rows in which nothing is to be learned."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from aigc_lab.data.batches import Batch
from aigc_lab.data.chat import ASSISTANT, END, START, encode_conversation, make_chat_tokenizer
from aigc_lab.data.synthetic import NO_TARGET
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.data.tiny_world.conversations import Conversations
from aigc_lab.models.gpt import GPT
from aigc_lab.models.shipped import load_shipped
from aigc_lab.training.loop import loss_of_batch, mean_loss, training_steps
from aigc_lab.training.making_data import make_data
from aigc_lab.training.packing import packed_conversations
from aigc_lab.training.recipe_data import ConversationData
from aigc_lab.training.recipes import get_recipe
from aigc_lab.training.run_folder import TrainSettings
from aigc_lab.training.running import make_model

WORLD = WorldSettings()
N = 12  # conversations, of which some share a row


@pytest.fixture(scope="module")
def tokenizer():
    return make_chat_tokenizer(load_shipped("base")[1])


@pytest.fixture(scope="module")
def model():
    return make_model(get_recipe("chat", "quick")).eval()


@pytest.fixture(scope="module")
def batch(tokenizer):
    return packed_conversations(WORLD, tokenizer, 320, N).batch(0)


def test_targets_are_the_replies_with_their_ends(batch, tokenizer):
    special = tokenizer.special_tokens
    expected = []
    for talk in Conversations(WORLD).conversations(N):
        for turn in talk.turns:
            expected.append([*tokenizer.encode(" " + turn.reply), special[END]])
    found = []
    for row, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        for place, target in enumerate(targets):
            if target == NO_TARGET:
                continue
            if row[place] == special[ASSISTANT]:
                found.append([])
            assert place + 1 == len(row) or row[place + 1] in (target, special[START])
            found[-1].append(target)
    assert sorted(found) == sorted(expected)
    assert batch.n_targets == sum(map(len, expected))


def test_everything_can_be_learned_but_not_what_follows_a_conversation(tokenizer):
    whole = packed_conversations(WORLD, tokenizer, 320, N, replies_only=False).batch(0)
    lengths = [
        len(encode_conversation(tokenizer, talk.messages()))
        for talk in Conversations(WORLD).conversations(N)
    ]
    assert whole.n_targets == sum(lengths)
    assert not (whole.targets == tokenizer.special_tokens[START]).any()


def test_packed_conversations_do_not_see_one_another(batch, tokenizer, model):
    """Attention: other words in one conversation leave the logits of its neighbours as they are."""
    asked = batch.targets != NO_TARGET
    # A row with targets in a second conversation: padding has a number of its own, too.
    row = int(((batch.documents > 0) & asked).any(dim=1).int().argmax())
    tokens, documents = batch.tokens[row : row + 1], batch.documents[row : row + 1]
    others = (documents[0] > 0) & asked[row]
    assert others.any()
    changed = torch.where(documents == 0, (tokens + 7) % 256, tokens)
    with torch.no_grad():
        before, after = model(tokens, documents=documents), model(changed, documents=documents)
    assert torch.equal(before[0, others], after[0, others])
    own = documents[0] == 0
    assert not torch.equal(before[0, own], after[0, own])


def test_a_pack_has_the_loss_of_its_conversations_alone(batch, tokenizer, model):
    """Loss: the sum over a batch is that of each conversation in a row of its own."""
    start, total = tokenizer.special_tokens[START], 0.0
    for talk in Conversations(WORLD).conversations(N):
        ids = [start, *encode_conversation(tokenizer, talk.messages())]
        logits = model(torch.tensor([ids]))[0].log_softmax(-1)
        place = 0
        is_reply = False
        for place, token in enumerate(ids[:-1]):
            is_reply = (is_reply or token == tokenizer.special_tokens[ASSISTANT]) and (
                token != tokenizer.special_tokens[END]
            )
            if is_reply:
                total -= logits[place, ids[place + 1]].item()
    assert loss_of_batch(model, batch).item() == pytest.approx(total, rel=1e-5)


def test_a_row_without_targets_adds_nothing(batch, model):
    empty = torch.full_like(batch.targets[:1], NO_TARGET)
    more = Batch(
        torch.cat([batch.tokens, batch.tokens[:1]]),
        torch.cat([batch.targets, empty]),
        torch.cat([batch.documents, batch.documents[:1]]),
    )
    grads = []
    for one in (batch, more):
        model.zero_grad()
        loss = loss_of_batch(model, one)
        loss.backward()
        grads.append(next(model.blocks[0].attention.parameters()).grad.clone())
        assert loss.isfinite()
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-4)  # another order of sums
    assert more.n_targets == batch.n_targets


def test_a_batch_without_any_target_is_refused_and_changes_nothing(batch, model):
    class Nothing:
        def batch(self, step):
            return dataclasses.replace(batch, targets=torch.full_like(batch.targets, NO_TARGET))

    before = [p.clone() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with pytest.raises(ValueError, match="no target"):
        next(training_steps(model, [optimizer], Nothing(), TrainSettings(1)))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    with pytest.raises(ValueError, match="no target"):
        mean_loss(model, [Nothing().batch(0)])
    logits = model(batch.tokens, documents=batch.documents)
    summed = F.cross_entropy(
        logits.flatten(0, 1), Nothing().batch(0).targets.flatten(), reduction="sum"
    )
    assert summed.item() == 0


def test_only_what_precedes_a_target_decides_the_loss(batch, tokenizer, model):
    """Words of the user after the last reply of a row have no influence on the loss."""
    tokens = batch.tokens.clone()
    last = int((batch.targets[0] != NO_TARGET).nonzero().max())
    if last + 1 == tokens.shape[1]:
        pytest.skip("the row is full")
    tokens[0, last + 1 :] = 5
    changed = dataclasses.replace(batch, tokens=tokens)
    assert loss_of_batch(model, changed).item() == pytest.approx(loss_of_batch(model, batch).item())


# ---------------------------------------------------------------------------------------- recipe


def test_the_recipe_starts_from_base(model):
    base = load_shipped("base")[0]
    tokens = torch.randint(700, (1, 12))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens)[..., : base.config.vocab_size], base(tokens))
    assert isinstance(model, GPT) and model.config.vocab_size == base.config.vocab_size + 4


def test_the_recipe_needs_a_start_and_its_vocabulary():
    recipe = get_recipe("chat", "quick")
    with pytest.raises(ValueError, match="starts from no model"):
        make_data(dataclasses.replace(recipe, start=None))
    small = dataclasses.replace(recipe.model, vocab_size=768)
    with pytest.raises(ValueError, match="vocab_size=768, but its data make it 772"):
        make_data(dataclasses.replace(recipe, model=small))


def test_the_hash_covers_the_start_and_the_conversations(monkeypatch):
    recipe = get_recipe("chat")
    hashes = {recipe.sha256()}
    hashes.add(dataclasses.replace(recipe, start="translator").sha256())
    data = dataclasses.replace(recipe.data, replies_only=False)
    hashes.add(dataclasses.replace(recipe, data=data).sha256())
    monkeypatch.setattr("aigc_lab.data.tiny_world.chat_words.SUMS", ["Sum {a} and {b}."])
    hashes.add(recipe.sha256())
    assert len(hashes) == 4


def test_seeds_have_their_own_conversations_and_held_out_ones_are_shared():
    recipe = get_recipe("chat", "quick")
    assert isinstance(recipe.data, ConversationData)
    first, second = make_data(recipe), make_data(dataclasses.replace(recipe, seed=1))
    assert first.source.batch(0).tokens.tolist() != second.source.batch(0).tokens.tolist()
    assert torch.equal(first.held_out[0].tokens, second.held_out[0].tokens)
    assert first.held_out[0].tokens.tolist() != first.source.batch(0).tokens.tolist()
