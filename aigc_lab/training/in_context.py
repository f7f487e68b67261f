"""Learning to learn from the context: when it comes, where it sits, and what a single layer lacks.

    python -m aigc_lab.training.in_context         # six minutes, one core

Small GPTs with one and with two layers, started at random, read sequences with a fresh mapping each
or a fresh Markov chain each (`aigc_lab.data.in_context`); three seeds. What is measured lies in
`aigc_lab/weights/in_context/results.json`; chapter 12 draws it.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from aigc_lab.data.batches import Batch
from aigc_lab.data.in_context import Mappings, MarkovChains, repeats
from aigc_lab.evaluation.induction import attention_maps, look_back, prefix_matching, without_heads
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.modes import evaluation_mode
from aigc_lab.training.loop import mean_loss, training_steps
from aigc_lab.training.optimizers import make_optimizers
from aigc_lab.training.recorded import reader_of, write_results
from aigc_lab.training.run_folder import TrainSettings

RESULTS = Path(__file__).resolve().parents[1] / "weights" / "in_context" / "results.json"
COMMAND = "python -m aigc_lab.training.in_context"
HELD_OUT = 1000  # seed of the sequences that are measured on
KEYS, VALUES = slice(0, None, 2), slice(1, None, 2)  # the places of each in a sequence of pairs
Task = Mappings | MarkovChains


@dataclass(frozen=True)
class Study:
    """What is trained.

    Args:
        mappings, chains: the two tasks; the seed is that of the run.
        layers: numbers of layers that are compared.
        d_model, n_heads: of all models.
        mapping_steps, chain_steps: updates of each run.
        mapping_lr, chain_lr: learning rates; the first stays as it is after 20 steps, the second
            falls to 0.
        measure_every: steps from one measurement to the next.
        n_held_out: sequences of a measurement.
        seeds: of the weights and the sequences.
    """

    mappings: Mappings = field(default_factory=Mappings)
    chains: MarkovChains = field(default_factory=MarkovChains)
    layers: tuple[int, ...] = (1, 2)
    d_model: int = 32
    n_heads: int = 2
    mapping_steps: int = 1500
    chain_steps: int = 1500
    mapping_lr: float = 5e-3
    chain_lr: float = 5e-3
    measure_every: int = 25
    n_held_out: int = 256
    seeds: tuple[int, ...] = (0, 1, 2)


def learning(
    task: Task,
    n_layers: int = 2,
    *,
    d_model: int = 32,
    n_heads: int = 2,
    n_steps: int = 500,
    lr: float = 5e-3,
    last_rate: float = 1.0,
    seed: int = 0,
) -> Iterator[tuple[GPT, int]]:
    """Train a small GPT on one task, and stop after each step to look at it.

    Args:
        task: where the sequences come from.
        n_layers, d_model, n_heads: of the model, which starts with small random weights.
        n_steps, lr: number of updates, and the learning rate.
        last_rate: share of the learning rate that is left in the end.
        seed: of the weights.

    Yields:
        The model and the number of updates that it has had.
    """
    torch.manual_seed(seed)
    is_mapping = isinstance(task, Mappings)
    model = GPT(
        GPTConfig(
            task.vocab_size if is_mapping else task.n_states,
            context_length=2 * task.n_pairs if is_mapping else task.length,
            d_model=d_model,
            n_layers=n_layers,
            n_heads=n_heads,
            tie_weights=False,
        )
    )
    optimizers = make_optimizers(model, lr, weight_decay=0.0, muon=True)
    settings = TrainSettings(n_steps, n_warmup=min(20, n_steps), last_rate=last_rate)
    for progress, _ in training_steps(model, optimizers, task, settings):
        yield model, progress.step


def right_answers(model: GPT, batch: Batch) -> torch.Tensor:
    """Where the likeliest value is the right one: boolean `(B, n_pairs)`, from a `Mappings`."""
    with evaluation_mode(model), torch.no_grad():
        return (model(batch.tokens).argmax(-1) == batch.targets)[:, KEYS]


def accuracy_on_repeats(model: GPT, batch: Batch) -> float:
    """Share of right answers where the key has occurred before."""
    return right_answers(model, batch)[repeats(batch.tokens[:, KEYS])].float().mean().item()


def divergence(model: GPT, tokens: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Kullback–Leibler divergence in nats from reference probabilities to the model's: `(T,)`.

    Args:
        model: the model.
        tokens: `(B, T)`.
        reference: `(B, T, K)`, probabilities of the next token, none 0.
    """
    with evaluation_mode(model), torch.no_grad():
        ours = model(tokens).double().log_softmax(-1)
    return (reference * (reference.log() - ours)).sum(-1).mean(0)


def run(study: Study, show_progress: bool = True) -> dict[str, Any]:
    """Train everything.

    Returns:
        The settings; and for "mapping" and "markov" what was measured, a list of one result for
        each seed under the number of layers: see `_learn_mappings` and `_learn_chains`.
    """
    found: dict[str, Any] = {"settings": dataclasses.asdict(study), "mapping": {}, "markov": {}}
    with tqdm(total=2 * len(study.layers) * len(study.seeds), disable=not show_progress) as bar:
        for name, learn in (("mapping", _learn_mappings), ("markov", _learn_chains)):
            for n_layers in study.layers:
                runs = found[name][str(n_layers)] = []
                for seed in study.seeds:
                    runs.append(learn(study, n_layers, seed))
                    bar.update()
    return found


def _learn_mappings(study: Study, n_layers: int, seed: int) -> dict[str, Any]:
    """At each measured step "accuracy" on repeated keys, "loss" in nats per value, and for each
    head "prefix_matching" of keys and "look_back" of values, `[layer][head]`; at the end
    "by_shots", the accuracy after 0, 1, … pairs, and "without", the accuracy without each head.
    """
    test = dataclasses.replace(study.mappings, seed=HELD_OUT, batch_size=study.n_held_out).batch(0)
    found: dict[str, Any] = {"steps": [], "accuracy": [], "loss": []}
    found |= {"prefix_matching": [], "look_back": []}
    for model, step in learning(
        dataclasses.replace(study.mappings, seed=seed),
        n_layers,
        d_model=study.d_model,
        n_heads=study.n_heads,
        n_steps=study.mapping_steps,
        lr=study.mapping_lr,
        seed=seed,
    ):
        if step % study.measure_every:
            continue
        found["steps"].append(step)
        found["accuracy"].append(round(accuracy_on_repeats(model, test), 4))
        found["loss"].append(round(mean_loss(model, [test]), 4))
        maps = attention_maps(model, test.tokens)
        matching = [prefix_matching(weights, test.tokens, KEYS) for weights in maps]
        found["prefix_matching"].append(_rounded(torch.stack(matching)))
        found["look_back"].append(_rounded(torch.stack([look_back(w, VALUES) for w in maps])))
    found["by_shots"] = _rounded(right_answers(model, test).float().mean(0))
    found["without"] = []
    for layer in range(n_layers):
        row = []
        for head in range(study.n_heads):
            with without_heads(model, [(layer, head)]):
                row.append(round(accuracy_on_repeats(model, test), 4))
        found["without"].append(row)
    return found


def _learn_chains(study: Study, n_layers: int, seed: int) -> dict[str, Any]:
    """At each measured step the mean divergence in nats of the model from the best reader ("best")
    and from one who counts states only ("by_frequency"); at the end "by_place", the former for
    each place, and what the latter reader has there ("frequency_by_place").
    """
    task = study.chains
    test = dataclasses.replace(task, seed=HELD_OUT, batch_size=study.n_held_out).batch(0)
    best, frequency = task.best(test.tokens), task.by_frequency(test.tokens)
    found: dict[str, Any] = {"steps": [], "best": [], "by_frequency": []}
    for model, step in learning(
        dataclasses.replace(task, seed=seed),
        n_layers,
        d_model=study.d_model,
        n_heads=study.n_heads,
        n_steps=study.chain_steps,
        lr=study.chain_lr,
        last_rate=0.0,
        seed=seed,
    ):
        if step % study.measure_every:
            continue
        found["steps"].append(step)
        for name, reader in (("best", best), ("by_frequency", frequency)):
            found[name].append(round(divergence(model, test.tokens, reader).mean().item(), 5))
    found["by_place"] = _rounded(divergence(model, test.tokens, best))
    gap = (best * (best.log() - frequency.log())).sum(-1).mean(0)
    found["frequency_by_place"] = _rounded(gap)
    return found


def _rounded(values: torch.Tensor) -> list:
    return (values.double() * 1e4).round().div(1e4).tolist()


load_results = reader_of(RESULTS, COMMAND)


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS)
def main(results: Path) -> None:
    """Run the study and write its results."""
    torch.set_num_threads(1)
    write_results(results, run(Study()))


if __name__ == "__main__":
    main(prog_name=COMMAND)
