"""Log-probabilities of replies against each row alone, at any padding."""

import pytest
import torch

from aigc_lab.alignment.replies import (
    ReplyBatch,
    entropy,
    make_reply_batch,
    reply_log_probs,
    reply_logits,
)
from aigc_lab.models.gpt import GPT, GPTConfig

PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8], [9]]
REPLIES = [[5, 3, 10], [2], [7, 7, 1, 10]]


@pytest.fixture(scope="module", params=["rope", "learned"])
def model(request):
    torch.manual_seed(0)
    config = GPTConfig(
        11, context_length=16, d_model=16, n_layers=2, n_heads=2, positions=request.param, bias=True
    )
    gpt = GPT(config)
    for p in gpt.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return gpt.double().eval()


def alone(model, prompt, reply, temperature=1.0):
    """log p of each token of a reply: one token after the other, with nothing around them."""
    found = []
    for place, token in enumerate(reply):
        logits = model(torch.tensor([[*prompt, *reply[:place]]]))[0, -1]
        found.append((logits / temperature).log_softmax(-1)[token])
    return torch.stack(found)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_each_row_as_if_it_were_alone(model, temperature):
    batch = make_reply_batch(PROMPTS, REPLIES, 16)
    found = reply_log_probs(model, batch, temperature)
    for row, (prompt, reply) in enumerate(zip(PROMPTS, REPLIES, strict=True)):
        expected = alone(model, prompt, reply, temperature)
        assert torch.allclose(found[row, : len(reply)], expected, atol=1e-10)
        assert (found[row, len(reply) :] == 0).all()


def test_prompts_padded_right_give_the_same(model):
    """Rows that are padded on the right only, without gaps: the slice begins elsewhere in each."""
    ours = reply_log_probs(model, make_reply_batch(PROMPTS, REPLIES, 16))
    rows = [[*prompt, *reply] for prompt, reply in zip(PROMPTS, REPLIES, strict=True)]
    width = max(map(len, rows))
    tokens = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.arange(width) < torch.tensor([len(row) for row in rows])[:, None]
    log_probs = model(tokens, attention_mask=mask).log_softmax(-1)
    for row, (prompt, reply) in enumerate(zip(PROMPTS, REPLIES, strict=True)):
        places = torch.arange(len(reply)) + len(prompt) - 1
        expected = log_probs[row, places, torch.tensor(reply)]
        assert torch.allclose(ours[row, : len(reply)], expected, atol=1e-10)


def test_what_fills_the_padding_does_not_matter(model):
    found = [
        reply_log_probs(model, make_reply_batch(PROMPTS, REPLIES, 16, pad_token=pad))
        for pad in (0, 10, 5)  # 10 ends the replies
    ]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_wider_padding_gives_the_same(model):
    narrow = make_reply_batch(PROMPTS, REPLIES, 16)
    pad = torch.zeros(3, 3, dtype=torch.long)
    wide = ReplyBatch(
        torch.cat([pad, narrow.tokens, pad], 1),
        torch.cat([pad.bool(), narrow.attention_mask, pad.bool()], 1),
        narrow.n_prompt + 3,
    )
    assert torch.allclose(
        reply_log_probs(model, wide)[:, :4], reply_log_probs(model, narrow), atol=1e-10
    )


def test_batch_keeps_prompts_and_replies_and_the_end():
    batch = make_reply_batch(PROMPTS, REPLIES, 16)
    assert batch.tokens.shape == (3, 9) and batch.n_prompt == 5 and len(batch) == 3
    for row, (prompt, reply) in enumerate(zip(PROMPTS, REPLIES, strict=True)):
        assert batch.replies[row][batch.reply_mask[row]].tolist() == reply
        real = batch.tokens[row][batch.attention_mask[row]]
        assert real.tolist() == [*prompt, *reply]
        assert batch.reply_mask[row].tolist() == [i < len(reply) for i in range(4)]
    some = batch.rows(torch.tensor([2, 0]))
    assert torch.equal(some.tokens, batch.tokens[[2, 0]]) and some.n_prompt == 5


def test_gradients_are_those_of_the_rows_alone(model):
    model.zero_grad()
    reply_log_probs(model, make_reply_batch(PROMPTS, REPLIES, 16)).sum().backward()
    padded = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    for prompt, reply in zip(PROMPTS, REPLIES, strict=True):
        alone(model, prompt, reply).sum().backward()
    for ours, parameter in zip(padded, model.parameters(), strict=True):
        assert torch.allclose(ours, parameter.grad, atol=1e-9)


def test_entropy_of_known_distributions():
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [50.0, 0.0, 0.0, 0.0]])
    found = entropy(logits)
    assert found[0].item() == pytest.approx(torch.tensor(4.0).log().item())
    assert found[1].item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("prompts", "replies", "message"),
    [
        ([[1]], [], "1 prompts and 0 replies"),
        ([], [], "0 prompts and 0 replies"),
        ([[1], []], [[2], [2]], "row 1 has an empty prompt"),
        ([[1], [1]], [[2], []], "row 1 has an empty reply"),
        ([[1], [1] * 10], [[2], [2] * 7], "row 1: a prompt of 10 tokens with a reply of 7"),
        ([[1] * 12, [1]], [[2], [2] * 8], "longest prompt has 12 tokens and the longest reply.* 8"),
    ],
)
def test_refuses_and_says_which_row(prompts, replies, message):
    with pytest.raises(ValueError, match=message):
        make_reply_batch(prompts, replies, 16)


def test_refuses_greedy(model):
    with pytest.raises(ValueError, match="temperature=0"):
        reply_logits(model, make_reply_batch(PROMPTS, REPLIES, 16), 0)
