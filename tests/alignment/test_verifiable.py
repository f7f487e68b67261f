"""Sums as prompts, and the rules that score their answers."""

import pytest
import torch

from aigc_lab.alignment.rollout import Samples
from aigc_lab.alignment.verifiable import (
    SumPrompt,
    is_right,
    is_right_and_short,
    repeated,
    sum_prompts,
)
from aigc_lab.data.tiny_world.lexicon import is_held_out_sum


def samples_of(texts, ended=None):
    prompt = SumPrompt(37, 48, "What is 37 + 48?", "Be brief.")
    ended = torch.tensor(ended or [True] * len(texts))
    return Samples([prompt] * len(texts), None, texts, ended)


def test_only_a_right_result_that_ended_is_rewarded():
    texts = ["85.", "37 + 48 = 85.", "85. Or 75.", "75.", "", "85."]
    found = is_right(samples_of(texts, [True] * 5 + [False]))
    assert found.tolist() == [1, 1, 0, 0, 0, 0]


def test_the_stricter_rule_wants_nothing_but_the_result():
    found = is_right_and_short(samples_of(["85.", "85", "37 + 48 = 85.", "75.", "It is 85."]))
    assert found.tolist() == [1, 1, 0, 0, 0]


def test_held_out_sums_are_others():
    for held_out in (True, False):
        prompts = sum_prompts(50, 3, held_out)
        assert all(is_held_out_sum(p.a, p.b) == held_out for p in prompts)
        assert all(str(p.a) in p.text and str(p.b) in p.text for p in prompts)
        assert prompts == sum_prompts(50, 3, held_out) != sum_prompts(50, 4, held_out)
    assert prompts[0].messages[0] == ("system", prompts[0].system)
    assert max(max(p.a, p.b) for p in sum_prompts(50, 3, largest=9)) == 9
    with pytest.raises(ValueError, match="style='loud'"):
        sum_prompts(1, 0, style="loud")


def test_replies_to_one_prompt_stand_side_by_side():
    assert repeated(["a", "b"], 3) == ["a", "a", "a", "b", "b", "b"]
