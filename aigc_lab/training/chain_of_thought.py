"""Do written steps help a small model to add? At equal examples, and at equal tokens.

    python -m aigc_lab.training.chain_of_thought   # thirty-five minutes, one core; --resume goes on

Small GPTs learn sums of up to three digits from a fixed list of examples, three seeds each: with
the answer alone, with the steps before it, and with dots in place of the steps, all for the same
number of updates; and with the answer alone, forwards or backwards, for so many updates that the
model has read as many tokens as the one with steps. What is measured lies in
`aigc_lab/weights/chain_of_thought/results.json`, beside the half-trained adder that chapter 12
asks several times.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from aigc_lab.data.written_sums import Characters, WrittenSums, ask_sum, draw_sums, read_result
from aigc_lab.files import write_atomically
from aigc_lab.generation.complete import complete
from aigc_lab.generation.sampling import Sampling
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.training.loop import training_steps
from aigc_lab.training.optimizers import make_optimizers
from aigc_lab.training.recorded import reader_of, record_runs
from aigc_lab.training.run_folder import TrainSettings

FOLDER = Path(__file__).resolve().parents[1] / "weights" / "chain_of_thought"
RESULTS, ADDER = FOLDER / "results.json", FOLDER / "adder.safetensors"
COMMAND = "python -m aigc_lab.training.chain_of_thought"
# Each kind of training: how the sums are written, and what it has in common with "steps".
KINDS = {
    "steps": ("steps", "examples"),
    "plain": ("plain", "examples"),
    "dots": ("dots", "examples"),
    "plain, equal tokens": ("plain", "tokens"),
    "reversed, equal tokens": ("reversed", "tokens"),
}
HELD_OUT = 1000  # seed of the sums that are measured on
ADDER_EXAMPLES, ADDER_UPDATES = 1000, 300  # of the half-trained adder, which writes steps
LONGEST = 48  # tokens of an answer with steps, four digits


def small_gpt() -> GPTConfig:
    """A GPT that learns to add in half a minute."""
    return GPTConfig(
        Characters().vocab_size,
        context_length=64,
        d_model=64,
        n_layers=3,
        n_heads=4,
        tie_weights=False,
    )


@dataclass(frozen=True)
class Study:
    """What is trained.

    Args:
        model: the architecture of all models.
        n_examples: lengths of the lists of examples.
        digits: of the numbers in training, drawn evenly.
        tested: numbers of digits that are measured, on `n_test` sums each that are in no list.
        n_updates, batch_size, n_warmup, lr: of "steps", and of all with equal examples.
        seeds: of the weights, the lists and the batches.
    """

    model: GPTConfig = field(default_factory=small_gpt)
    n_examples: tuple[int, ...] = (500, 1000, 3000)
    digits: tuple[int, ...] = (1, 2, 3)
    tested: tuple[int, ...] = (1, 2, 3, 4)
    n_test: int = 200
    n_updates: int = 400
    batch_size: int = 64
    n_warmup: int = 30
    lr: float = 5e-3
    seeds: tuple[int, ...] = (0, 1, 2)


def train_adder(study: Study, way: str, n_examples: int, n_updates: int, seed: int) -> GPT:
    """One model; the same seed gives the same list of examples in every way to write them."""
    torch.manual_seed(seed)
    model = GPT(study.model)
    source = WrittenSums(draw_sums(n_examples, study.digits, seed), way, study.batch_size, seed)
    optimizers = make_optimizers(model, study.lr, weight_decay=0.05, muon=True)
    settings = TrainSettings(n_updates, n_warmup=min(study.n_warmup, n_updates))
    for _ in training_steps(model, optimizers, source, settings):
        pass
    return model


def updates_and_tokens(study: Study, way: str, same: str, n_examples: int, seed: int):
    """How many updates a kind of training makes, and how many tokens it reads in them."""
    sums = draw_sums(n_examples, study.digits, seed)
    own = WrittenSums(sums, way, study.batch_size, seed)
    if same == "examples":
        return study.n_updates, sum(own.n_tokens(step) for step in range(study.n_updates))
    steps = WrittenSums(sums, "steps", study.batch_size, seed)
    wanted = sum(steps.n_tokens(step) for step in range(study.n_updates))
    n_updates = n_tokens = 0
    while n_tokens < wanted:
        n_tokens += own.n_tokens(n_updates)
        n_updates += 1
    return n_updates, n_tokens


def write_sums(
    model: GPT,
    sums: Sequence[tuple[int, int]],
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
) -> list[str]:
    """What a model writes after each sum."""
    asked = [ask_sum(a, b) for a, b in sums]
    return complete(
        model,
        Characters(),
        asked,
        LONGEST,
        sampling or Sampling(temperature=0),
        one_line=False,
        generator=generator,
        batch_size=256,
    )


def addition_scores(model: GPT, sums: Sequence[tuple[int, int]], way: str) -> dict[str, float]:
    """Greedy answers: share that is "right", share that gives a number at all ("read"), and
    "written", the mean number of tokens of an answer with its end.
    """
    texts = write_sums(model, sums)
    results = [read_result(text, way) for text in texts]
    return {
        "right": sum(r == a + b for r, (a, b) in zip(results, sums, strict=True)) / len(sums),
        "read": sum(r is not None for r in results) / len(sums),
        "written": sum(len(text) + 1 for text in texts) / len(sums),
    }


def run(
    study: Study, path: Path, resume: bool = False, show_progress: bool = True
) -> dict[str, Any]:
    """Train every kind that is not in the file yet; the file is written after each.

    Returns:
        "settings", and "runs": "KIND/EXAMPLES/SEED" → "updates", "tokens" and, under each number
        of digits, the scores of `addition_scores`.

    Raises:
        ValueError: the file to resume holds runs of other settings.
    """
    tests = {d: draw_sums(study.n_test, (d,), HELD_OUT, held_out=True) for d in study.tested}

    def measure(kind: str, n_examples: int, seed: int) -> dict[str, Any]:
        way, same = KINDS[kind]
        n_updates, n_tokens = updates_and_tokens(study, way, same, n_examples, seed)
        model = train_adder(study, way, n_examples, n_updates, seed)
        scores = {str(d): addition_scores(model, sums, way) for d, sums in tests.items()}
        return {"updates": n_updates, "tokens": n_tokens, **scores}

    cells = [
        (f"{kind}/{n}/{seed}", partial(measure, kind, n, seed))
        for seed in study.seeds
        for n in study.n_examples
        for kind in KINDS
    ]
    return record_runs(path, dataclasses.asdict(study), cells, resume, show_progress)


def save_adder(model: GPT, path: Path = ADDER) -> None:
    """Write the weights of the half-trained adder, as float16."""
    tensors = {name: p.detach().half().contiguous() for name, p in model.named_parameters()}
    write_atomically(path, save_tensors(tensors))


def load_adder(path: Path = ADDER) -> GPT:
    """The half-trained adder, which writes steps.

    Raises:
        FileNotFoundError: it is not there; names the command.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no adder in {path}: make it with `{COMMAND}`")
    model = GPT(small_gpt())
    model.load_state_dict(load_tensors(path.read_bytes()))
    return model.eval()


load_results = reader_of(RESULTS, COMMAND)


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS)
@click.option("--resume", is_flag=True, help="Keep the runs that are in the file.")
def main(results: Path, resume: bool) -> None:
    """Run the study, write its results and the half-trained adder."""
    torch.set_num_threads(1)
    study = Study()
    try:
        run(study, results, resume)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    adder = train_adder(study, "steps", ADDER_EXAMPLES, ADDER_UPDATES, seed=0)
    save_adder(adder, results.parent / ADDER.name)


if __name__ == "__main__":
    main(prog_name=COMMAND)
