"""Beam search, against transformers and against trying everything."""

import itertools

import pytest
import torch

from aigc_lab.generation.beam import beam_search, reorder
from aigc_lab.generation.generate import generate
from aigc_lab.generation.sampling import Sampling
from aigc_lab.models.gpt import GPT, GPTConfig, KVCache
from aigc_lab.models.huggingface import to_huggingface

SMALL = {"context_length": 40, "d_model": 24, "n_layers": 2, "n_heads": 4}


def make(seed, kind="llama", vocab_size=30, scale=0.2):
    """A random model with opinions: its distribution is far from flat."""
    torch.manual_seed(seed)
    config = {"gpt2": GPTConfig.gpt2, "llama": GPTConfig.llama}[kind]
    model = GPT(config(vocab_size=vocab_size, **SMALL, tie_weights=False))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model.eval()


def a_prompt(seed, length=5, vocab_size=30):
    return torch.randint(vocab_size, (1, length), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def pairs(request, tmp_path_factory):
    """Our models, and the same weights in transformers."""
    transformers = pytest.importorskip("transformers")
    made = []
    for seed in range(3):
        model, folder = make(seed, request.param), tmp_path_factory.mktemp("model")
        to_huggingface(model, folder)
        made.append((model, transformers.AutoModelForCausalLM.from_pretrained(folder)))
    return made


def theirs(peer, prompt, n_new, n_beams, stop_tokens, **settings):
    """Sequences (without padding) and scores of transformers, best first."""
    found = peer.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=n_new,
        num_beams=n_beams,
        num_return_sequences=n_beams,
        do_sample=False,
        eos_token_id=stop_tokens,
        pad_token_id=999,  # no token, so it can be told from one
        return_dict_in_generate=True,
        output_scores=True,
        **settings,
    )
    rows = found.sequences[:, prompt.shape[1] :].tolist()
    return [[token for token in row if token != 999] for row in rows], found.sequences_scores


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    ("n_beams", "length_penalty", "n_stops"),
    [(2, 1.0, 1), (4, 0.0, 2), (4, 2.0, 3), (6, -1.0, 1), (3, 0.6, 2)],
)
def test_texts_and_scores_are_those_of_transformers(
    pairs, early_stopping, n_beams, length_penalty, n_stops
):
    n_ended = 0
    for seed, (model, peer) in enumerate(pairs):
        prompt = a_prompt(seed)
        settings = {
            "length_penalty": length_penalty,
            "early_stopping": early_stopping,
            "stop_tokens": stops_for(model, prompt, n_stops),
        }
        found = beam_search(model, prompt, 15, n_beams, **settings)
        sequences, scores = theirs(peer, prompt, 15, n_beams, **settings)
        assert [hypothesis.tokens for hypothesis in found] == sequences
        ours = torch.tensor([hypothesis.score for hypothesis in found])
        torch.testing.assert_close(ours, scores, atol=1e-4, rtol=1e-5)
        n_ended += sum(len(row) < 15 for row in sequences)
    assert n_ended >= 3  # stop tokens were met


def stops_for(model, prompt, n):
    """Tokens that a greedy text meets after its first few."""
    written = generate(model, prompt, 15, Sampling(temperature=0))[0].tolist()
    return list(dict.fromkeys(written[5:]))[:n]


def test_one_beam_is_greedy_decoding():
    lengths = set()
    for seed in range(6):
        model, prompt = make(seed), a_prompt(seed)
        stops = stops_for(model, prompt, 1 + seed % 3)
        greedy = generate(model, prompt, 20, Sampling(temperature=0), stop_tokens=stops)
        assert [h.tokens for h in beam_search(model, prompt, 20, 1, stop_tokens=stops)] == (
            greedy.tolist()
        )
        lengths.add(greedy.shape[1])
    assert len(lengths) > 1


def test_the_stopping_rules_differ():
    n_different = 0
    for seed in range(4):
        model, prompt = make(seed), a_prompt(seed)
        settings = {"length_penalty": 1.5, "stop_tokens": stops_for(model, prompt, 2)}
        early, late = (
            beam_search(model, prompt, 20, 3, early_stopping=rule, **settings)
            for rule in (True, False)
        )
        n_different += early != late
        assert late[0].score >= early[0].score
    assert n_different >= 1


def log_probability(model, prompt, tokens):
    """Of the tokens after the prompt, computed from one pass over the whole text."""
    text = torch.cat([prompt, torch.tensor([tokens])], dim=1)
    with torch.no_grad():
        log_probabilities = model(text[:, :-1]).double().log_softmax(-1)
    places = torch.arange(prompt.shape[1] - 1, text.shape[1] - 1)
    return log_probabilities[0, places, torch.tensor(tokens)].sum().item()


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_with_beams_for_everything_it_finds_the_best_of_all_texts(length_penalty):
    stop, longest = 2, 4
    for seed in range(3):
        model, prompt = make(seed, vocab_size=4), a_prompt(seed, 3, 4)
        texts = [
            list(text)
            for n in range(1, longest + 1)
            for text in itertools.product(range(4), repeat=n)
            if stop not in text[:-1] and (text[-1] == stop or n == longest)
        ]
        logs = {tuple(text): log_probability(model, prompt, text) for text in texts}
        scores = {text: value / len(text) ** length_penalty for text, value in logs.items()}
        expected = sorted(scores, key=scores.get, reverse=True)
        found = beam_search(
            model, prompt, longest, 200, length_penalty=length_penalty, stop_tokens=[stop]
        )
        assert [tuple(h.tokens) for h in found] == expected  # all of them, in order
        for h in found:
            assert h.log_probability == pytest.approx(logs[tuple(h.tokens)], abs=1e-4)
            assert h.score == pytest.approx(scores[tuple(h.tokens)], abs=1e-4)


def test_it_finds_what_greedy_decoding_misses():
    better = 0
    for seed in range(5):
        model, prompt = make(seed, scale=0.1), a_prompt(seed)
        greedy, best = (beam_search(model, prompt, 10, n)[0] for n in (1, 8))
        better += best.log_probability > greedy.log_probability + 0.01
    assert better >= 3


def test_a_cache_is_reordered_by_sequence():
    model = make(0)
    tokens = torch.randint(30, (3, 6), generator=torch.Generator().manual_seed(0))
    cache = KVCache(model.config, 3)
    rows = [2, 0, 0, 1]
    with torch.no_grad():
        model(tokens[:, :5], cache=cache)
        reorder(cache, rows)
        found = model(tokens[rows, 5:], cache=cache)
        torch.testing.assert_close(found, model(tokens[rows])[:, -1:], atol=1e-5, rtol=1e-5)


def test_the_mode_of_the_model_comes_back_and_dropout_is_off():
    model = GPT(GPTConfig.llama(30, **SMALL, dropout=0.5)).train()
    runs = [[h.tokens for h in beam_search(model, a_prompt(0), 8)] for _ in range(2)]
    assert runs[0] == runs[1] and model.training


def test_nothing_asked_for_and_the_last_token_of_the_context():
    model = make(0)
    assert beam_search(model, a_prompt(0), 0) == []
    assert len(beam_search(model, a_prompt(0, 5), 36)[0].tokens) == 36


@pytest.mark.parametrize(
    ("shape", "n_new", "n_beams", "message"),
    [
        ((2, 5), 3, 4, r"shape \(1, T\).*\(2, 5\)"),
        ((1, 0), 3, 4, r"at least one token, not \(1, 0\)"),
        ((1, 5), 3, 0, "n_beams=0 must be at least 1"),
        ((1, 5), 37, 4, "prompt of 5 and max_new_tokens=37 do not fit"),
        ((1, 5), -1, 4, "max_new_tokens=-1"),
    ],
)
def test_what_cannot_be_done_is_refused(shape, n_new, n_beams, message):
    with pytest.raises(ValueError, match=message):
        beam_search(make(0), torch.zeros(shape, dtype=torch.long), n_new, n_beams)
