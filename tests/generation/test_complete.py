"""Completing many texts at once is completing each alone."""

import pytest
import torch

from aigc_lab.data.bpe_training import train_bpe
from aigc_lab.generation.complete import complete
from aigc_lab.generation.generate import generate
from aigc_lab.generation.sampling import Sampling
from aigc_lab.models.gpt import GPT, GPTConfig

END = "<|endoftext|>"
TEXTS = ["the cat", "", "the cat and the hat sat on a mat", "a"]
GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe("the cat and the hat\nsat on a mat " * 9, 270, special_tokens=[END])


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    model = GPT(GPTConfig(tokenizer.vocab_size, context_length=64, d_model=16, n_heads=2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_each_text_is_continued_as_if_it_were_alone(model, tokenizer, batch_size):
    together = complete(model, tokenizer, TEXTS, 12, GREEDY, batch_size=batch_size)
    end, newline = tokenizer.special_tokens[END], tokenizer.encode("\n")[0]
    for text, found in zip(TEXTS, together, strict=True):
        prompt = torch.tensor([[end, *tokenizer.encode(text)]])
        ids = generate(model, prompt, 12, GREEDY)[0].tolist()
        cut = [i for i, token in enumerate(ids) if token in (end, newline)]
        assert found == tokenizer.decode(ids[: min(cut, default=len(ids))])
    assert len(set(together)) > 1


def forced(model, tokenizer, text):
    """The model, made to write this text and its end, whatever stands before."""
    end = tokenizer.special_tokens[END]
    ids = [*tokenizer.encode(text), end]
    step = iter(ids)

    class Forced(GPT):
        def forward(self, tokens, **settings):
            logits = super().forward(tokens, **settings)
            logits[:, -1] = -100.0
            logits[:, -1, next(step)] = 100.0
            return logits

    made = Forced(model.config)
    made.load_state_dict(model.state_dict())
    return made.eval()


@pytest.mark.parametrize("one_line, expected", [(True, "the cat"), (False, "the cat\nsat")])
def test_it_stops_at_the_end_of_the_document_or_of_the_line(
    model, tokenizer, one_line, expected, monkeypatch
):
    # With prompts of two lengths the model itself is asked, and not its fast path for one step.
    texts = ["a", "on a mat"]
    made = forced(model, tokenizer, "the cat\nsat")
    assert complete(made, tokenizer, texts, 20, GREEDY, one_line=one_line) == [expected] * 2


def test_sampling_follows_the_generator(model, tokenizer):
    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return complete(model, tokenizer, TEXTS, 12, generator=generator)

    assert draw(1) == draw(1) != draw(2)


def test_nothing_to_complete_is_no_error(model, tokenizer):
    assert complete(model, tokenizer, [], 5) == []


def test_an_unknown_start_token_is_named(model, tokenizer):
    with pytest.raises(ValueError, match=r"start='<s>' is not a special token .*endoftext"):
        complete(model, tokenizer, TEXTS, 5, start="<s>")


def test_a_text_that_does_not_fit_is_an_error(model, tokenizer):
    with pytest.raises(ValueError, match="shorten the prompt or write less"):
        complete(model, tokenizer, ["the cat " * 40], 5)
