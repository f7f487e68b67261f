"""The probability of an answer after a prompt."""

import pytest
import torch

from aigc_lab.data.written_sums import Characters
from aigc_lab.evaluation.prompting import answer_log_probs, calibrate, shares
from aigc_lab.models.gpt import GPT, GPTConfig


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(16, context_length=24, d_model=16, n_layers=2, n_heads=2))
    with torch.no_grad():
        model.embedding.weight.mul_(20)  # so that answers differ much
    return model.eval()


@pytest.mark.parametrize("prompt", ["37+48=", "1", ""])
def test_it_is_the_chain_rule(model, prompt):
    """Compared with a pass over prompt and answer for each token of each answer."""
    characters = Characters()
    answers = ["85", "8", "123456", "85;"]
    found = answer_log_probs(model, characters, prompt, answers)
    for answer, log_prob in zip(answers, found.tolist(), strict=True):
        read, total = [0, *characters.encode(prompt)], 0.0
        for token in characters.encode(answer):
            with torch.no_grad():
                total += model(torch.tensor([read]))[0, -1].double().log_softmax(-1)[token].item()
            read.append(token)
        assert log_prob == pytest.approx(total, abs=1e-4)
    each = answer_log_probs(model, characters, prompt, answers, per_token=True)
    lengths = torch.tensor([2.0, 1.0, 6.0, 3.0])
    assert torch.allclose(each * lengths, found, atol=1e-5)


def test_one_token_answers_sum_to_one_over_the_vocabulary(model):
    characters = Characters()
    found = answer_log_probs(model, characters, "37+48=", list(characters.alphabet))
    with torch.no_grad():
        end = model(torch.tensor([[0, *characters.encode("37+48=")]]))[0, -1].softmax(-1)[0]
    assert found.exp().sum().item() + end.item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(shares(found), found.exp() / found.exp().sum(), atol=1e-6)


def test_bad_answers_are_refused(model):
    for answers in ([], ["85", ""]):
        with pytest.raises(ValueError, match="at least one text, none of them empty"):
            answer_log_probs(model, Characters(), "37+48=", answers)
    with pytest.raises(ValueError, match="start='<s>' is not a special token"):
        answer_log_probs(model, Characters(), "37+48=", ["85"], start="<s>")
    with pytest.raises(ValueError, match="do not fit"):
        answer_log_probs(model, Characters(), "37+48=", ["8" * 30])


def test_calibration_makes_an_empty_prompt_say_nothing():
    without = torch.tensor([0.7, 0.2, 0.1])
    assert torch.allclose(calibrate(without, without), torch.full((3,), 1 / 3))
    given = torch.tensor([0.5, 0.3, 0.2])
    ratio = [0.5 / 0.7, 0.3 / 0.2, 0.2 / 0.1]
    expected = torch.tensor([r / sum(ratio) for r in ratio])
    assert torch.allclose(calibrate(given, without), expected)
    with pytest.raises(ValueError, match="one probability for each answer"):
        calibrate(given, without[:2])
    with pytest.raises(ValueError, match="probability 0 without content"):
        calibrate(given, torch.tensor([1.0, 0.0, 0.0]))
