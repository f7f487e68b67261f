"""The reward model: where the score is read, padding, the head's start, normalising."""

import pytest
import torch

from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.reward_model import RewardConfig, RewardModel
from aigc_lab.models.starting import start_from

ROWS = [[1, 2, 3], [4, 5, 6, 7, 8], [9]]


@pytest.fixture(scope="module", params=["rope", "learned"])
def model(request):
    torch.manual_seed(0)
    config = RewardConfig(
        11, context_length=16, d_model=16, n_layers=2, n_heads=2, positions=request.param, bias=True
    )
    found = RewardModel(config)
    for p in found.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return found.double().eval()


def padded(left: int, pad_token: int = 0):
    """Tokens and mask of ROWS with `left` columns of padding before each, and the rest behind."""
    width = max(map(len, ROWS)) + left
    tokens = torch.full((len(ROWS), width), pad_token)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    for row, ids in enumerate(ROWS):
        first = width - len(ids) if left == 0 else left
        tokens[row, first : first + len(ids)] = torch.tensor(ids)
        mask[row, first : first + len(ids)] = True
    return tokens, mask


def by_hand(model, ids):
    """The score of one row alone, from the vectors of its body."""
    vectors = model.vectors(torch.tensor([ids]))  # (1, T, C)
    return vectors[0, -1] @ model.score.weight[0] + model.score.bias[0]


def test_the_score_is_read_at_the_last_real_token(model):
    expected = torch.stack([by_hand(model, ids) for ids in ROWS])
    alone = torch.cat([model(torch.tensor([ids])) for ids in ROWS])
    assert torch.allclose(alone, expected, atol=1e-10)
    assert expected.std() > 0.05


@pytest.mark.parametrize("left", [0, 1, 4])
@pytest.mark.parametrize("junk", [0, 7])
def test_padding_on_any_side_and_with_any_token_changes_nothing(model, left, junk):
    """left=0: all padding in front; otherwise some in front and some behind."""
    expected = torch.stack([by_hand(model, ids) for ids in ROWS])
    assert torch.allclose(model(*padded(left, junk)), expected, atol=1e-10)


def test_the_last_token_counts_and_so_do_those_before(model):
    base = model(torch.tensor([ROWS[1]]))
    for place in range(5):
        other = list(ROWS[1])
        other[place] = 10
        assert not torch.isclose(model(torch.tensor([other])), base).any()


def test_a_row_of_padding_is_refused(model):
    tokens, mask = padded(0)
    mask[1] = False
    with pytest.raises(ValueError, match="row 1 is padding only"):
        model(tokens, mask)


def test_the_head_starts_small_and_the_body_is_the_given_one():
    torch.manual_seed(0)
    config = GPTConfig(11, context_length=16, d_model=1024, n_layers=1, n_heads=2)
    gpt = GPT(config)
    found = RewardModel(config)
    assert start_from(found, gpt) == ["score.weight", "score.bias"]
    assert found.score.weight.std().item() == pytest.approx(1025**-0.5, rel=0.08)
    assert found.score.bias.item() == 0
    tokens = torch.tensor([[1, 2, 3]])
    assert torch.equal(found.vectors(tokens), gpt.vectors(tokens))


def test_normalise_gives_mean_0_and_deviation_1(model):
    tokens = torch.randint(11, (50, 9), generator=torch.Generator().manual_seed(1))
    before = model(tokens)
    model.normalise(before.mean().item(), before.std().item())
    after = model(tokens)
    assert after.mean().item() == pytest.approx(0, abs=1e-6)
    assert after.std().item() == pytest.approx(1, abs=1e-6)
    order = before.argsort()
    assert torch.equal(after.argsort(), order)
    for std in (0.0, float("nan"), -1.0):
        with pytest.raises(ValueError, match="must be above 0"):
            model.normalise(0.0, std)
