"""Speculative decoding: the same tokens where greedy, elsewhere the same distribution."""

import itertools

import pytest
import torch
from torch import nn

from aigc_lab.generation.generate import generate
from aigc_lab.generation.sampling import Sampling
from aigc_lab.generation.speculative import left_over, speculate
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.swapping import swap

GREEDY = Sampling(temperature=0)


def make(seed, vocab_size=40, n_layers=2, scale=0.2, context_length=48, **settings):
    torch.manual_seed(seed)
    sizes = {"context_length": context_length, "d_model": 16, "n_layers": n_layers, "n_heads": 2}
    model = GPT(GPTConfig.llama(vocab_size, **sizes, tie_weights=False, **settings))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model.eval()


def near(model, seed, noise=0.05):
    """A draft that agrees with the model now and then."""
    torch.manual_seed(seed)
    draft = GPT(model.config)
    draft.load_state_dict(model.state_dict())
    with torch.no_grad():
        for parameter in draft.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return draft.eval()


def a_prompt(seed=0, length=4, vocab_size=40):
    return torch.randint(vocab_size, (1, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n_guesses", [1, 3, 60])
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(1.4, 0.0), Sampling(top_k=1)])
def test_greedy_tokens_are_exactly_those_of_the_model(n_guesses, sampling):
    shares = []
    for seed in range(2):
        model = make(seed)
        expected = generate(model, a_prompt(seed), 24, sampling)
        for draft in (near(model, seed), make(seed + 10, n_layers=1), model):
            found = speculate(model, draft, a_prompt(seed), 24, sampling, n_guesses=n_guesses)
            assert torch.equal(found.tokens, expected)
            shares.append(found.share_kept)
            if draft is model:
                assert found.share_kept == 1
                assert found.n_passes == -(-24 // (n_guesses + 1))
    assert any(0 < share < 1 for share in shares)  # kept and refused guesses


def expected_distribution(model, prompt, n_new, sampling):
    """Probability of every sequence of n_new tokens, from the model alone."""
    vocab = range(model.config.vocab_size)
    found = {}
    for tokens in itertools.product(vocab, repeat=n_new):
        probability = 1.0
        text = prompt
        for token in tokens:
            with torch.no_grad():
                logits = model(text)[:, -1]
            probability *= sampling.probabilities(logits, text)[0, token].item()
            text = torch.cat([text, torch.tensor([[token]])], dim=1)
        found[tokens] = probability
    return found


def chi_square(expected, counts, n):
    """Chi-square, divided by its degrees of freedom; infinite for an impossible sequence."""
    if any(expected[tokens] == 0 for tokens in counts):
        return float("inf")
    likely = {tokens for tokens, p in expected.items() if n * p >= 5}
    rest = 1 - sum(expected[tokens] for tokens in likely)
    total = sum((counts.get(t, 0) - n * expected[t]) ** 2 / (n * expected[t]) for t in likely)
    n_rest = sum(count for tokens, count in counts.items() if tokens not in likely)
    if rest > 1e-9:
        total += (n_rest - n * rest) ** 2 / (n * rest)
    return total / (len(likely) - (rest <= 1e-9))


def sequences(model, draft, sampling, n, n_guesses=2, n_new=3):
    generator, counts = torch.Generator().manual_seed(0), {}
    for _ in range(n):
        found = speculate(
            model, draft, PROMPT, n_new, sampling, n_guesses=n_guesses, generator=generator
        )
        tokens = tuple(found.tokens[0].tolist())
        counts[tokens] = counts.get(tokens, 0) + 1
    return counts


PROMPT = torch.tensor([[1, 0]])
N = 1000
SAMPLINGS = {
    "plain": Sampling(),
    "temperature, top-k": Sampling(temperature=1.5, top_k=3),
    "penalty, top-p": Sampling(repetition_penalty=1.5, temperature=2.0, top_p=0.9),
    "min-p": Sampling(min_p=0.1),
}


class Table(nn.Module):
    """Stands in for a model, but faster: a table of logits by position and last token."""

    def __init__(self, seed):
        super().__init__()
        self.config = GPTConfig(4, context_length=8, d_model=4, n_layers=1, n_heads=1)
        self.embedding = nn.Embedding(4, 4)
        generator = torch.Generator().manual_seed(seed)
        self.logits = 1.5 * torch.randn(8, 4, 4, generator=generator)

    def forward(self, tokens, *, cache=None, last_only=False, attention_mask=None):
        past = 0 if cache is None else cache.length
        if cache is not None:
            cache.length += tokens.shape[1]
        found = self.logits[torch.arange(past, past + tokens.shape[1]), tokens]
        return found[:, -1:] if last_only else found


def two_models():
    """A model and a draft that differs from it much."""
    return Table(0), Table(1)


@pytest.mark.parametrize("name", SAMPLINGS)
def test_the_distribution_is_that_of_the_model_alone(name):
    (model, draft), sampling = two_models(), SAMPLINGS[name]
    expected = expected_distribution(model, PROMPT, 3, sampling)
    assert sum(expected.values()) == pytest.approx(1, abs=1e-5)
    assert chi_square(expected, sequences(model, draft, sampling, N), N) < 1.8
    # The test can tell: the draft's own texts have another distribution.
    alone = torch.Generator().manual_seed(0)
    counts = {}
    for _ in range(N):
        tokens = tuple(generate(draft, PROMPT, 3, sampling, generator=alone)[0].tolist())
        counts[tokens] = counts.get(tokens, 0) + 1
    assert chi_square(expected, counts, N) > 3


def test_drawing_anew_from_the_whole_of_p_would_be_noticed():
    model, draft = two_models()
    expected = expected_distribution(model, PROMPT, 3, Sampling())
    with swap("aigc_lab.generation.speculative.left_over", lambda p, q: p):
        counts = sequences(model, draft, Sampling(), N)
    assert chi_square(expected, counts, N) > 3


def test_what_is_left_over_completes_what_is_kept():
    torch.manual_seed(0)
    p, q = torch.randn(2, 9).double().softmax(-1)
    rest = left_over(p, q)
    torch.testing.assert_close(torch.minimum(p, q) + rest, p)
    kept = (q * torch.minimum(torch.ones(9).double(), p / q)).sum()
    torch.testing.assert_close(rest.sum(), 1 - kept)
    assert torch.equal(left_over(p, p), p)


def test_the_share_kept_is_the_overlap_of_the_distributions():
    model, draft = two_models()
    with torch.no_grad():
        p, q = (part(PROMPT)[0, -1].softmax(-1) for part in (model, draft))
    generator = torch.Generator().manual_seed(0)
    n = 1500
    runs = [speculate(model, draft, PROMPT, 2, n_guesses=1, generator=generator) for _ in range(n)]
    overlap = torch.minimum(p, q).sum().item()
    assert 0.2 < overlap < 0.9
    deviation = (overlap * (1 - overlap) / n) ** 0.5
    assert abs(sum(run.n_kept for run in runs) / n - overlap) < 4 * deviation


def test_a_stop_token_ends_the_text_wherever_it_stands_among_the_guesses():
    model = make(0)
    free = generate(model, a_prompt(), 12, GREEDY)[0].tolist()
    for stop in dict.fromkeys(free):
        expected = generate(model, a_prompt(), 12, GREEDY, stop_tokens=[stop])
        for draft in (model, near(model, 1)):
            found = speculate(model, draft, a_prompt(), 12, GREEDY, stop_tokens=[stop])
            assert torch.equal(found.tokens, expected)


def test_the_numbers_fit_together():
    model = make(0)
    found = speculate(model, near(model, 0), a_prompt(), 40, GREEDY, n_guesses=3)
    assert found.n_kept + found.n_passes == 40
    assert found.passes_per_token == found.n_passes / 40 < 1
    nothing = speculate(model, model, a_prompt(), 0)
    assert nothing.tokens.shape == (1, 0) and nothing.n_passes == 0
    one = speculate(model, model, a_prompt(), 1, GREEDY)
    assert one.n_guessed == 0 and one.share_kept != one.share_kept  # NaN


def test_modes_come_back_and_dropout_is_off():
    model = make(0, dropout=0.5).train()
    draft = near(model, 0).train()
    runs = [speculate(model, draft, a_prompt(), 20, GREEDY).tokens for _ in range(2)]
    assert torch.equal(*runs) and model.training and draft.training


@pytest.mark.parametrize(
    ("shape", "n_new", "draft", "more", "message"),
    [
        ((2, 5), 3, {}, {}, r"shape \(1, T\).*\(2, 5\)"),
        ((1, 0), 3, {}, {}, r"at least one token, not \(1, 0\)"),
        ((1, 5), 3, {"vocab_size": 39}, {}, "vocabularies of 40 and 39 tokens"),
        ((1, 5), 3, {}, {"n_guesses": 0}, "n_guesses=0"),
        ((1, 5), 30, {"context_length": 20}, {}, "smaller context of 20 tokens"),
        ((1, 5), -1, {}, {}, "max_new_tokens=-1"),
    ],
)
def test_what_cannot_be_done_is_refused(shape, n_new, draft, more, message):
    with pytest.raises(ValueError, match=message):
        speculate(make(0), make(1, **draft), torch.zeros(shape, dtype=torch.long), n_new, **more)


def test_the_context_can_be_filled_to_the_last_token():
    model = make(0)
    found = speculate(model, near(model, 0), a_prompt(), 45, GREEDY)
    assert torch.equal(found.tokens, generate(model, a_prompt(), 45, GREEDY))
