"""Several reward models on one scale, and how far they lie apart."""

import pytest
import torch

from aigc_lab.alignment.ensembles import (
    NEAR,
    common_scale,
    disagreement,
    scaled_scores,
    strange_replies,
)
from aigc_lab.alignment.labellers import Pair
from aigc_lab.alignment.reward import new_reward_model, score_replies
from aigc_lab.data.tiny_world.settings import WorldSettings
from aigc_lab.data.tiny_world.taste import story_prompts
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.shipped import load_shipped

TEXTS = ["Mei ran. Mei sat.", "Omar sat by the river.", "It began to rain. The sun came out."]


@pytest.fixture(scope="module")
def parts():
    tokenizer = load_shipped("chat")[1]
    torch.manual_seed(0)
    start = GPT(GPTConfig(tokenizer.vocab_size, 300, d_model=16, n_layers=1, n_heads=1)).eval()
    members = [new_reward_model(start) for _ in range(3)]
    prompts = story_prompts(WorldSettings(seed=1), 3)
    pairs = [Pair(p, text, "No.") for p, text in zip(prompts, TEXTS, strict=True)]
    return start, tokenizer, members, pairs


def test_on_the_scale_each_member_has_mean_0_and_deviation_1(parts):
    _, tokenizer, members, pairs = parts
    asked = [pair.prompt.messages for pair in pairs]
    scale = common_scale(members, tokenizer, asked, TEXTS)
    scores = scaled_scores(members, tokenizer, asked, TEXTS, scale)
    assert torch.allclose(scores.mean(1), torch.zeros(3), atol=1e-5)
    assert torch.allclose(scores.std(1), torch.ones(3), atol=1e-4)
    members[0].normalise(3.0, 7.0)  # another zero and unit for one of them changes nothing
    again = common_scale(members, tokenizer, asked, TEXTS)
    assert torch.allclose(scaled_scores(members, tokenizer, asked, TEXTS, again), scores, atol=1e-3)
    raw = score_replies(members[1], tokenizer, asked, TEXTS)
    assert torch.allclose(scores[1], (raw - raw.mean()) / raw.std(), atol=1e-4)


def test_disagreement_by_hand():
    scores = torch.tensor([[1.0, 5.0, 0.0], [1.0, 1.0, 0.0]])  # two members, three replies
    assert disagreement(scores) == pytest.approx((0 + 2 + 0) / 3)
    assert disagreement(torch.ones(1, 4)) == 0


def test_strange_replies_are_of_the_kinds_that_they_say(parts):
    start, tokenizer, _, pairs = parts
    asked, kinds = strange_replies(start, tokenizer, pairs)
    assert asked == [pair.prompt.messages for pair in pairs]
    assert kinds[NEAR] == TEXTS
    assert kinds["two stories in one"][2] == f"{TEXTS[2]} {TEXTS[0]}"
    assert kinds["one sentence five times"][0] == " ".join(["Mei ran."] * 5)
    assert all(len(texts) == 3 and all(texts) for texts in kinds.values())
