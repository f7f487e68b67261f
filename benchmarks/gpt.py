"""Writing and training beside the `transformers` library, with the same weights."""

import tempfile

import torch
import torch.nn.functional as F
import transformers

from aigc_lab.generation.generate import generate
from aigc_lab.generation.sampling import Sampling
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.huggingface import to_huggingface
from aigc_lab.training.optimizers import make_optimizers
from benchmarks.timing import Result, median_seconds

VOCABULARY, WIDTH, LAYERS, HEADS, CONTEXT = 512, 128, 4, 4, 256
PROMPT = 16  # tokens
FASTER_WRITING = {1: 2.5, 16: 1.0}  # batch size: at least so many times as fast
FASTER_TRAINING = 1.5
TRAINING_BATCH = 16
GPT2_DROPOUT = 0.1  # what transformers' GPT2Config sets where the user says nothing


def run(n_new: int, repeats: int) -> list[Result]:
    """Measure writing `n_new` tokens at two batch sizes, then training steps.

    Raises:
        RuntimeError: the two do not compute the same; then times say nothing.
    """
    torch.manual_seed(0)
    model = GPT(
        GPTConfig.gpt2(
            vocab_size=VOCABULARY,
            context_length=CONTEXT,
            d_model=WIDTH,
            n_layers=LAYERS,
            n_heads=HEADS,
        )
    )
    with torch.no_grad():  # larger weights, so that not one token comes over and over
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    peer, dropping_peer = _in_transformers(model, 0.0), _in_transformers(model, GPT2_DROPOUT)
    writing = [_writing(model, peer, batch, n_new, repeats) for batch in FASTER_WRITING]
    return [*writing, *_training(model, peer, dropping_peer, repeats)]


def _in_transformers(model: GPT, dropout: float):
    """The same weights in transformers, with its default settings but for the dropout."""
    transformers.logging.set_verbosity_error()  # of token ids that are not used here
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        to_huggingface(model, folder)
        peer = transformers.AutoModelForCausalLM.from_pretrained(
            folder, resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout
        )
    peer.generation_config.eos_token_id = peer.generation_config.bos_token_id = None
    return peer


def _writing(model: GPT, peer, batch: int, n_new: int, repeats: int) -> Result:
    prompt = torch.randint(VOCABULARY, (batch, PROMPT))
    model.eval(), peer.eval()

    def ours() -> torch.Tensor:
        return generate(model, prompt, n_new, Sampling(temperature=0))

    def theirs() -> torch.Tensor:
        return peer.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=n_new,
            do_sample=False,
            pad_token_id=0,
        )[:, PROMPT:]

    if not torch.equal(ours(), theirs()):
        raise RuntimeError("the same weights write different tokens")
    our_time, their_time = median_seconds(ours, theirs, repeats=repeats)
    return Result(
        task=f"write {n_new} tokens greedily, batch {batch}, {LAYERS} layers, {WIDTH} wide",
        ours=_speed(batch * n_new, our_time),
        peers=f"transformers {_speed(batch * n_new, their_time)}",
        ratio=f"{our_time / their_time:.2f}x",
        promise=f"{FASTER_WRITING[batch]:g} times as fast",
        kept=their_time / our_time >= FASTER_WRITING[batch],
    )


def _training(model: GPT, peer, dropping_peer, repeats: int) -> list[Result]:
    tokens = torch.randint(VOCABULARY, (TRAINING_BATCH, CONTEXT))
    parts = (model, peer, dropping_peer)
    losses = [_loss(model.eval(), tokens), *(_their_loss(p.eval(), tokens) for p in parts[1:])]
    for loss in losses[1:]:
        torch.testing.assert_close(loss, losses[0], msg="the same weights have different losses")
    for part in parts:
        part.train()
    our_optimizers = make_optimizers(model, 1e-4)
    optimizers = [torch.optim.AdamW(p.parameters(), lr=1e-4) for p in parts[1:]]

    def ours() -> None:
        _step(_loss(model, tokens), our_optimizers)

    def theirs() -> None:
        _step(_their_loss(peer, tokens), optimizers[:1])

    def theirs_as_it_comes() -> None:
        _step(_their_loss(dropping_peer, tokens), optimizers[1:])

    ours(), theirs(), theirs_as_it_comes()  # to warm up
    our_time, *times = median_seconds(ours, theirs, theirs_as_it_comes, repeats=repeats)
    n_tokens = tokens.numel()
    names = ("transformers, no dropout", "transformers as it comes (dropout 0.1)")
    return [
        Result(
            task=f"a training step of GPT-2, {TRAINING_BATCH} x {CONTEXT} tokens",
            ours=_speed(n_tokens, our_time),
            peers=f"{name} {_speed(n_tokens, seconds)}",
            ratio=f"{our_time / seconds:.2f}x",
            promise=f"{FASTER_TRAINING:g} times as fast" if promised else "",
            kept=seconds / our_time >= FASTER_TRAINING if promised else None,
        )
        for name, seconds, promised in zip(names, times, (False, True), strict=True)
    ]


def _loss(model: GPT, tokens: torch.Tensor) -> torch.Tensor:
    logits = model(tokens)[:, :-1]  # (B, T-1, V)
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def _their_loss(peer, tokens: torch.Tensor) -> torch.Tensor:
    return peer(tokens, labels=tokens).loss


def _step(loss: torch.Tensor, optimizers) -> None:
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()


def _speed(n_tokens: int, seconds: float) -> str:
    return f"{n_tokens / seconds:,.0f} tokens/s"
