"""Talking with a model: batches, pieces, memory, and what no longer fits."""

import pytest
import torch

from aigc_lab.data.bpe_training import train_bpe
from aigc_lab.data.chat import (
    END,
    START,
    USER,
    ConversationError,
    encode_prompt,
    make_chat_tokenizer,
)
from aigc_lab.generation.chat import Chat, replies
from aigc_lab.generation.generate import generate
from aigc_lab.generation.sampling import Sampling
from aigc_lab.models.gpt import GPT, GPTConfig

GREEDY = Sampling(temperature=0)
TALKS = [
    [("user", "the cat")],
    [("system", "be a hat"), ("user", "the cat and the hat sat"), ("assistant", "a"), ("user", "")],
    [("user", "on a mat")],
]


@pytest.fixture(scope="module")
def tokenizer():
    base = train_bpe("the cat and the hat\nsat on a mat " * 9, 270, special_tokens=[START])
    return make_chat_tokenizer(base)


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(1)
    model = GPT(GPTConfig(tokenizer.vocab_size, context_length=96, d_model=16, n_heads=2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def alone(model, tokenizer, messages, n):
    """The reply by the plainest way: one row, and everything computed anew for each token."""
    prompt = torch.tensor([encode_prompt(tokenizer, messages)])
    ids = generate(model, prompt, n, GREEDY, use_cache=False)[0].tolist()
    n_said = next((i for i, token in enumerate(ids) if token >= tokenizer.vocab_size - 5), n)
    ended = n_said < n and ids[n_said] == tokenizer.special_tokens[END]
    return tokenizer.decode(ids[:n_said]).removeprefix(" "), ended


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_replies_in_a_batch_are_those_alone(model, tokenizer, batch_size):
    found = replies(model, tokenizer, TALKS, GREEDY, max_new_tokens=30, batch_size=batch_size)
    expected = [alone(model, tokenizer, messages, 30) for messages in TALKS]
    assert [tuple(reply) for reply in found] == expected


def test_a_reply_that_is_cut_off_has_not_ended(model, tokenizer):
    end = tokenizer.special_tokens[END]
    with torch.no_grad():
        stuck = GPT(model.config).eval()
        stuck.load_state_dict(model.state_dict())
        stuck.embedding.weight.zero_()
        stuck.embedding.weight[5] = 1.0  # every token but this one has logit 0
        stuck.norm.weight.fill_(1.0)
    found = replies(stuck, tokenizer, TALKS[:1], GREEDY, max_new_tokens=4)
    assert not found[0].has_ended and found[0].text
    with torch.no_grad():
        stuck.embedding.weight[end] = 2.0
    assert replies(stuck, tokenizer, TALKS[:1], GREEDY, max_new_tokens=4)[0] == ("", True)


def test_any_mark_ends_what_is_written_but_only_its_own_ends_a_reply(model, tokenizer, monkeypatch):
    special = tokenizer.special_tokens
    seen = []

    def writes_for_the_user(model, prompts, n, sampling, *, stop_tokens, generator):
        seen.append(stop_tokens)
        return [[*tokenizer.encode(" the cat"), special[USER]] for _ in prompts]

    monkeypatch.setattr("aigc_lab.generation.chat.complete_ids", writes_for_the_user)
    assert replies(model, tokenizer, TALKS[:1]) == [("the cat", False)]
    assert seen == [set(special.values())]


def test_a_long_prompt_leaves_what_room_there_is(model, tokenizer):
    n_words = 1
    while len(encode_prompt(tokenizer, [("user", "on " * n_words)])) < 94:
        n_words += 1
    found = replies(model, tokenizer, [[("user", "on " * n_words)]], GREEDY, max_new_tokens=50)
    assert len(found) == 1
    with pytest.raises(ValueError, match="do not fit into the context of 96"):
        replies(model, tokenizer, [[("user", "on " * 96)]], GREEDY)
    with pytest.raises(ConversationError, match="reply can only follow the user's"):
        replies(model, tokenizer, [TALKS[1][:3]], GREEDY)


def test_a_chat_says_what_the_whole_conversation_gives(model, tokenizer):
    chat = Chat(model, tokenizer, "be a hat", GREEDY, max_new_tokens=8)
    messages = [("system", "be a hat")]
    for text in ("the cat", "sat"):
        pieces = list(chat.say(text))
        messages.append(("user", text))
        expected = alone(model, tokenizer, messages, 8)[0]
        assert "".join(pieces) == expected
        messages.append(("assistant", expected))
        assert chat.messages == messages
    assert chat.n_forgotten == 0


def test_chance_is_that_of_the_seed(model, tokenizer):
    def say(seed):
        return "".join(Chat(model, tokenizer, seed=seed, max_new_tokens=20).say("the cat"))

    assert say(1) == say(1) != say(2)


def test_the_oldest_turns_are_forgotten_but_never_the_system_message(model, tokenizer):
    chat = Chat(model, tokenizer, "be a hat", GREEDY, max_new_tokens=8)
    for number in range(8):
        list(chat.say(f"the cat {number} sat on a mat"))
        assert chat.messages[0] == ("system", "be a hat")
        assert chat.messages[-2] == ("user", f"the cat {number} sat on a mat")
        assert [role for role, _ in chat.messages[1:]] == ["user", "assistant"] * (
            len(chat.messages) // 2
        )
        assert len(chat.messages) + chat.n_forgotten == 2 * number + 3
    assert chat.n_forgotten >= 2


def test_a_message_that_is_too_long_changes_nothing(model, tokenizer):
    chat = Chat(model, tokenizer, "", GREEDY, max_new_tokens=8)
    list(chat.say("the cat"))
    before = list(chat.messages)
    with pytest.raises(ValueError, match="there is room for 88 beside a reply of 8"):
        list(chat.say("on " * 90))
    assert chat.messages == before and chat.n_forgotten == 0


def test_a_reply_that_is_broken_off_stays_as_far_as_it_came(model, tokenizer):
    chat = Chat(model, tokenizer, "", Sampling(), max_new_tokens=30, seed=3)
    pieces = chat.say("the cat")
    first = next(pieces)
    pieces.close()
    assert chat.messages[-1] == ("assistant", first)
    list(chat.say("sat"))
    assert len(chat.messages) == 4
