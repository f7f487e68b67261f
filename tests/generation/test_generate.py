"""Writing: against transformers, with and without the cache, and as a stream of text."""

import pytest
import torch

from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.generation.generate import generate, generate_steps, stream_text
from aigc_lab.generation.sampling import Sampling
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.huggingface import to_huggingface

GREEDY = Sampling(temperature=0)
SMALL = {"context_length": 40, "d_model": 24, "n_layers": 2, "n_heads": 4}


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request):
    torch.manual_seed(0)
    make = {"gpt2": GPTConfig.gpt2, "llama": GPTConfig.llama}[request.param]
    made = GPT(make(vocab_size=60, **SMALL))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made.eval()


def prompts(n=3, length=6):
    return torch.randint(60, (n, length), generator=torch.Generator().manual_seed(1))


def test_greedy_writes_what_transformers_writes(model, tmp_path):
    transformers = pytest.importorskip("transformers")
    to_huggingface(model, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    theirs.generation_config.eos_token_id = theirs.generation_config.bos_token_id = None
    expected = theirs.generate(
        prompts(),
        attention_mask=torch.ones_like(prompts()),
        max_new_tokens=20,
        do_sample=False,
        pad_token_id=0,
    )
    found = generate(model, prompts(), 20, GREEDY)
    assert torch.equal(found, expected[:, 6:])
    assert len(found.unique()) > 3  # not one token over and over


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(), Sampling(1.3, 0.8, 20, 0.9)])
def test_the_cache_changes_no_token(model, sampling):
    runs = [
        generate(
            model,
            prompts(),
            30,
            sampling,
            use_cache=use_cache,
            generator=torch.Generator().manual_seed(3),
        )
        for use_cache in (True, False)
    ]
    assert torch.equal(*runs)


def test_a_padded_batch_writes_what_each_prompt_writes_alone(model):
    long, short = prompts(1, 6), prompts(1, 3)
    padding = torch.full((1, 3), 7)
    batch = torch.cat([long, torch.cat([padding, short], dim=1)])
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, :3] = False
    together = generate(model, batch, 15, GREEDY, attention_mask=mask)
    assert torch.equal(together[:1], generate(model, long, 15, GREEDY))
    assert torch.equal(together[1:], generate(model, short, 15, GREEDY))


def test_the_context_can_be_filled_to_the_last_token_and_no_further(model):
    assert generate(model, prompts(1, 6), 35, GREEDY).shape == (1, 35)
    with pytest.raises(ValueError, match=r"prompt of 6 and max_new_tokens=36 do not fit"):
        generate(model, prompts(1, 6), 36, GREEDY)


def test_nothing_can_be_asked_for(model):
    assert generate(model, prompts(), 0).shape == (3, 0)
    with pytest.raises(ValueError, match="max_new_tokens=-1"):
        generate(model, prompts(), -1)


def test_an_empty_prompt_is_refused(model):
    with pytest.raises(ValueError, match="start token"):
        generate(model, prompts(1, 0), 3)


def test_the_generator_decides(model):
    runs = [
        generate(model, prompts(), 20, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_the_penalty_counts_the_prompt_and_what_was_written(model):
    found = generate(model, prompts(), 12, Sampling(repetition_penalty=1e6, temperature=0))
    for prompt, new in zip(prompts().tolist(), found.tolist(), strict=True):
        assert len(set(new)) == 12 and not set(new) & set(prompt)


def test_a_stop_token_ends_each_sequence(model):
    free = generate(model, prompts(), 30, GREEDY)
    stop = free[0, 4].item()
    ends = [(row == stop).nonzero() for row in free]
    found = generate(model, prompts(), 30, GREEDY, stop_tokens=[stop])
    for row, whole, end in zip(found, free, ends, strict=True):
        last = end[0].item() if len(end) else 30
        assert torch.equal(row[: last + 1], whole[: min(last + 1, len(row))])
        assert (row[last + 1 :] == stop).all()
    alone = generate(model, prompts()[:1], 30, GREEDY, stop_tokens=[stop])
    first = (free[0] == stop).nonzero()[0].item()
    assert alone.shape == (1, first + 1)


def test_dropout_is_off_while_writing_and_the_mode_comes_back():
    model = GPT(GPTConfig.llama(60, **SMALL, dropout=0.5)).train()
    runs = [generate(model, prompts(), 10, GREEDY) for _ in range(2)]
    assert torch.equal(*runs)
    assert model.training
    steps = generate_steps(model, prompts(), 10)
    next(steps)
    steps.close()
    assert model.training


# ------------------------------------------------------------------------------------------- stream


class Parrot(torch.nn.Module):
    """Stands in for a model: writes the given tokens, one after the other."""

    def __init__(self, ids, vocab_size, prompt_length):
        super().__init__()
        self.ids, self.start = ids, prompt_length
        self.config = GPTConfig(vocab_size, context_length=500, d_model=8, n_heads=1, n_layers=1)
        self.embedding = torch.nn.Embedding(vocab_size, 8)
        self.seen = 0

    def forward(self, tokens, *, attention_mask=None, cache=None, last_only=False):
        self.seen += tokens.shape[1]
        logits = torch.full((1, 1, self.config.vocab_size), -torch.inf)
        logits[0, 0, self.ids[self.seen - self.start]] = 0.0
        return logits


TOKENIZER = Tokenizer([(104, 101), (256, 108), (257, 108)], special_tokens=["<|end|>"])


def stream(text, n=None, **settings):
    ids = TOKENIZER.encode(text, allowed_special=["<|end|>"])
    model = Parrot(ids, TOKENIZER.vocab_size, 1)
    return list(stream_text(model, TOKENIZER, "x", n or len(ids), GREEDY, **settings))


@pytest.mark.parametrize("text", ["hello hell", "中文🐊é", "a👩‍🔬b", " \n\t", "h"])
def test_the_stream_is_the_text_in_whole_characters(text):
    parts = stream(text)
    assert "".join(parts) == text
    assert all(part and "\ufffd" not in part for part in parts)


def test_text_comes_as_soon_as_it_is_whole():
    assert stream("中文") == ["中", "文"]
    assert stream("hell") == ["hell"]
    assert len(stream("abc")) == 3


def test_a_character_cut_off_at_the_end_is_shown_as_such():
    assert "".join(stream("中文", n=5)) == "中\ufffd"


def test_a_stop_token_ends_the_stream_and_is_not_shown():
    end = TOKENIZER.special_tokens["<|end|>"]
    assert "".join(stream("ab<|end|>cd", stop_tokens=[end])) == "ab"


@pytest.mark.parametrize(
    ("text", "stops", "shown"),
    [
        ("one\nQ: two", ["\nQ:"], "one"),
        ("one\nA: two", ["\nQ:"], "one\nA: two"),
        ("ababac tail", ["abac"], "ab"),
        ("hello world", ["lo w"], "hel"),
        ("ends with \nQ", ["\nQ:"], "ends with \nQ"),
        ("stop first", ["stop"], ""),
        ("xaby", ["b", "ab"], "x"),
        ("中文停止", ["停"], "中文"),
    ],
)
def test_a_stop_string_ends_the_stream_also_across_tokens(text, stops, shown):
    parts = stream(text, stop_strings=stops)
    assert "".join(parts) == shown
    assert all(parts)


def test_what_may_be_a_stop_string_is_held_back_no_longer_than_needed():
    assert stream("a\nb", stop_strings=["\nQ:"]) == ["a", "\nb"]


def test_special_tokens_in_a_prompt_are_only_text(model):
    class Spy(Parrot):
        def forward(self, tokens, **more):
            self.first = getattr(self, "first", tokens)
            return super().forward(tokens, **more)

    ids = TOKENIZER.encode("<|end|>")
    spy = Spy(TOKENIZER.encode("ab"), TOKENIZER.vocab_size, len(ids))
    list(stream_text(spy, TOKENIZER, "<|end|>", 2, GREEDY))
    assert spy.first.tolist() == [ids]
    assert TOKENIZER.special_tokens["<|end|>"] not in ids


def test_an_empty_stop_string_is_refused():
    with pytest.raises(ValueError, match="empty text"):
        stream("ab", stop_strings=[""])


def test_a_stream_without_a_prompt_or_without_room_is_refused(model):
    with pytest.raises(ValueError, match="start token"):
        list(stream_text(model, TOKENIZER, "", 3))
    with pytest.raises(ValueError, match=r"prompt of 3 and max_new_tokens=39 do not fit"):
        list(stream_text(model, TOKENIZER, [1, 2, 3], 39))
