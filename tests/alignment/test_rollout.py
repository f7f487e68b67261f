"""Replies that a policy writes: what it says of them while writing, and when it learns, agree."""

import json

import pytest
import torch

from aigc_lab.alignment.replies import reply_log_probs
from aigc_lab.alignment.rollout import checked_scores, sample_replies
from aigc_lab.data.chat import END, encode_prompt
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.data.tiny_world.taste import story_prompts
from aigc_lab.models.gpt import GPT
from aigc_lab.models.lora import add_lora, lora_layers, lora_parameters
from aigc_lab.models.shipped import load_shipped
from aigc_lab.swapping import swap

PROMPTS = story_prompts(WorldSettings(seed=3), 6)


@pytest.fixture(scope="module")
def chat():
    return load_shipped("chat")


@pytest.fixture
def lora_policy(chat):
    """The chat model with paths that are not 0."""
    policy, tokenizer = load_shipped("chat")
    torch.manual_seed(0)
    add_lora(policy, 4, 8)
    for p in lora_parameters(policy).values():
        torch.nn.init.normal_(p, std=0.1)
    return policy, tokenizer


def draw(policy, tokenizer, seed=0, **settings):
    generator = torch.Generator().manual_seed(seed)
    return sample_replies(policy, tokenizer, PROMPTS, generator=generator, **settings)


def sampled_log_probs(policy, tokenizer, temperature, n_tokens=30):
    """Samples, and log p of their tokens as known while they were written, from the cache."""
    found = []

    def choose(sampling, logits, seen=None, generator=None):
        token = sampling.choose(logits, seen, generator)  # the original, as we are inside it
        log_probs = (logits / temperature).log_softmax(-1)
        found.append(log_probs.gather(1, token[:, None])[:, 0])
        return token

    with swap("aigc_lab.generation.sampling.Sampling.choose", choose):
        samples = draw(policy, tokenizer, temperature=temperature, max_new_tokens=n_tokens)
    return samples, torch.stack(found, dim=1)[:, : samples.batch.replies.shape[1]]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("kind", ["full", "lora"])
def test_log_probs_while_writing_are_those_while_learning(kind, temperature, request):
    policy, tokenizer = request.getfixturevalue("chat" if kind == "full" else "lora_policy")
    samples, written = sampled_log_probs(policy, tokenizer, temperature)
    mask = samples.batch.reply_mask
    lengths = {len(encode_prompt(tokenizer, prompt.messages)) for prompt in PROMPTS}
    assert len(lengths) > 1, "the prompts need padding"
    with torch.no_grad():
        learned = reply_log_probs(policy, samples.batch, temperature)
    assert (learned - written)[mask].abs().max() < 1e-4
    assert (learned - written)[mask].abs().mean() < 1e-5


def test_replies_end_with_their_end_and_nothing_follows(chat):
    policy, tokenizer = chat
    samples = draw(policy, tokenizer)
    end = tokenizer.special_tokens[END]
    mask = samples.batch.reply_mask
    for row, text in enumerate(samples.texts):
        ids = samples.batch.replies[row][mask[row]].tolist()
        assert samples.has_ended[row] and ids[-1] == end and end not in ids[:-1]
        assert tokenizer.decode(ids[:-1]).strip() == text
        prompt = samples.batch.tokens[row, : samples.batch.n_prompt]
        real = prompt[samples.batch.attention_mask[row, : samples.batch.n_prompt]]
        assert real.tolist() == encode_prompt(tokenizer, PROMPTS[row].messages)


def test_replies_that_are_cut_off_have_not_ended(chat):
    samples = draw(*chat, max_new_tokens=5)
    assert not samples.has_ended.any()
    assert samples.batch.replies.shape[1] == 5 and samples.batch.reply_mask.all()


def test_the_same_seed_gives_the_same_replies_and_another_others(chat):
    texts = draw(*chat).texts
    assert draw(*chat).texts == texts
    assert draw(*chat, seed=1).texts != texts


def test_lora_paths_are_apart_again_afterwards(lora_policy):
    policy, tokenizer = lora_policy
    before = {name: p.clone() for name, p in policy.state_dict().items()}
    draw(policy, tokenizer, max_new_tokens=3)
    assert not any(layer.merged for layer in lora_layers(policy).values())
    assert all(torch.equal(before[name], p) for name, p in policy.state_dict().items())


def test_refuses_a_prompt_without_room_and_no_prompts(chat):
    policy, tokenizer = chat
    with pytest.raises(ValueError, match=r"prompt \d has \d+ tokens.*max_new_tokens=310.* 320"):
        draw(policy, tokenizer, max_new_tokens=310)
    with pytest.raises(ValueError, match="no prompts"):
        sample_replies(policy, tokenizer, [])


def test_a_reply_may_fill_the_context(chat):
    policy, tokenizer = chat
    small = GPT(policy.config)  # random weights: it does not end its replies
    longest = max(len(encode_prompt(tokenizer, prompt.messages)) for prompt in PROMPTS)
    samples = draw(small.eval(), tokenizer, max_new_tokens=policy.config.context_length - longest)
    assert reply_log_probs(small, samples.batch).shape == samples.batch.replies.shape


def test_scores_that_are_numbers_pass(chat):
    samples = draw(*chat, max_new_tokens=4)
    assert checked_scores(lambda s: [1, 2, 3, 4, 5, 6], samples).tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_bad_score_stops_and_the_batch_is_saved(chat, tmp_path, bad):
    samples = draw(*chat, max_new_tokens=4)
    scores = torch.tensor([0.5, 1.0, bad, 0.0, bad, 2.0])
    with pytest.raises(FloatingPointError, match=r"reply 2 is .*step 7 \(2 of 6.*bad_batch_7"):
        checked_scores(lambda s: scores, samples, tmp_path, step=7)
    lines = (tmp_path / "bad_batch_7.jsonl").read_text().splitlines()
    saved = [json.loads(line) for line in lines]
    assert [line["reply"] for line in saved] == samples.texts
    assert [float(line["score"]) for line in saved][:2] == [0.5, 1.0]
    assert saved[2]["score"] == str(bad) and saved[0]["messages"][0][1] == PROMPTS[0].text


def test_refuses_a_reward_of_another_shape(chat):
    samples = draw(*chat, max_new_tokens=4)
    with pytest.raises(ValueError, match=r"shape \(6, 1\) for 6 replies"):
        checked_scores(lambda s: torch.zeros(6, 1), samples)


def test_the_policy_keeps_its_mode_and_samples_without_dropout(chat):
    policy, tokenizer = chat
    policy.train()
    try:
        draw(policy, tokenizer, max_new_tokens=2)
        assert policy.training
    finally:
        policy.eval()


def test_the_colder_the_less_varied(chat):
    policy, tokenizer = chat
    prompts = [PROMPTS[0]] * 12
    n_texts = [
        len(set(sample_replies(policy, tokenizer, prompts, temperature=t, generator=g).texts))
        for t, g in ((0.001, torch.Generator().manual_seed(0)), (1.0, torch.Generator()))
    ]
    assert 3 * n_texts[0] < n_texts[1]
