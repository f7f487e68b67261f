"""A needle in a haystack: what helps a model to learn to look something up.

    python -m aigc_lab.training.needle             # twenty minutes, one core

Each document is a story of the tiny world with two things and a question for the colour of one of
them, a word that the story says once among a hundred others. Four ways to begin are compared:
small random weights, as in GPT-2; weights with which attention copies (`GPTConfig.copy_init`);
heads that also look back and match (`look_back_init`, `match_init`); and the latter, but the story
is learned too and not only the answer. What is measured is always the loss of the answer.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from aigc_lab.data.batches import PackedDocuments
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.data.tiny_world.questions import Question, answers
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.models.attention_starts import LOOKING_UP
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.training.loop import mean_loss, training_steps
from aigc_lab.training.making_data import make_tokenizer
from aigc_lab.training.optimizers import make_optimizers
from aigc_lab.training.packing import only_answers, packed_documents
from aigc_lab.training.recorded import reader_of, write_results
from aigc_lab.training.run_folder import TrainSettings

RESULTS = Path(__file__).resolve().parents[1] / "weights" / "needle" / "results.json"
COMMAND = "python -m aigc_lab.training.needle"
COPYING = {"copy_init": LOOKING_UP["copy_init"]}
# How each way begins: settings of the model, and whether only the answer is learned.
WAYS = {
    "random start": ({}, True),
    "copying start": (COPYING, True),
    "look-up start": (LOOKING_UP, True),
    "all is learned": (LOOKING_UP, False),
}


@dataclass(frozen=True)
class Needle:
    """What is trained.

    Args:
        model: its architecture; the way decides how it begins.
        n_steps, lr, muon_lr: of each run; the rates rise for 20 steps and then stay.
        n_documents: of a step.
        measure_every: steps from one measurement to the next.
        n_held_out: documents of a measurement.
        seeds: of the weights.
        n_for_tokenizer: documents from which the tokenizer is learned.
        world: where the documents come from; those of the next seed are held out.
    """

    model: GPTConfig = field(
        default_factory=lambda: GPTConfig(
            768, context_length=320, d_model=128, n_layers=5, bias=True
        )
    )
    n_steps: int = 180
    lr: float = 1e-2
    muon_lr: float = 2.5e-3
    n_documents: int = 16
    measure_every: int = 10
    n_held_out: int = 96
    seeds: tuple[int, ...] = (0, 1, 2)
    n_for_tokenizer: int = 1000
    world: WorldSettings = field(
        default_factory=lambda: WorldSettings(
            mix=(0.0, 1.0, 0.0, 0.0),
            question_kinds=("colour",),
            n_things=(2, 2),
            n_events=(0, 2),
            n_questions=(1, 1),
        )
    )


def answer_floor() -> float:
    """Nats of the least loss of one answer: the colour is certain, its wording is not."""
    return math.log(len(answers(Question("colour", thing="kite"), "red")))


def run(study: Needle, show_progress: bool = True) -> dict[str, Any]:
    """Train all ways with all seeds.

    Returns:
        The settings; the steps of the measurements; for each way the nats per answer above the
        least possible, a list for each seed; and what a model would lose that knows how answers
        are worded but not the story ("blind"), or that knows the story's two colours but not
        which is whose ("either").
    """
    tokenizer = make_tokenizer(study.world, study.n_for_tokenizer, study.model.vocab_size)
    held_out = study.world.replace(seed=study.world.seed + 1)
    measured = _packed(study, tokenizer, held_out, study.n_held_out, answers_only=True).batch(0)
    tokens_per_answer = measured.n_targets / study.n_held_out

    def train(way: str, seed: int) -> list[float]:
        start, answers_only = WAYS[way]
        torch.manual_seed(seed)
        model = GPT(dataclasses.replace(study.model, **start))
        source = _packed(study, tokenizer, study.world, study.n_documents, answers_only)
        optimizers = make_optimizers(model, study.lr, muon=True, muon_lr=study.muon_lr)
        settings = TrainSettings(study.n_steps, n_warmup=min(20, study.n_steps), last_rate=1.0)
        found = []
        for progress, _ in training_steps(model, optimizers, source, settings):
            if progress.step % study.measure_every == 0:
                loss = mean_loss(model, [measured]) * tokens_per_answer
                found.append(round(loss - answer_floor(), 4))
            bar.update()
        return found

    total = len(WAYS) * len(study.seeds) * study.n_steps
    with tqdm(total=total, unit="step", disable=not show_progress) as bar:
        curves = {way: [train(way, seed) for seed in study.seeds] for way in WAYS}
    return {
        "settings": dataclasses.asdict(study),
        "steps": list(range(study.measure_every, study.n_steps + 1, study.measure_every)),
        "curves": curves,
        "blind": math.log(len(study.world.colours)),
        # One time in so many both things have the same colour.
        "either": math.log(2) * (1 - 1 / len(study.world.colours)),
    }


load_results = reader_of(RESULTS, COMMAND)


def _packed(
    study: Needle,
    tokenizer: Tokenizer,
    world: WorldSettings,
    n_documents: int,
    answers_only: bool,
) -> PackedDocuments:
    is_target = only_answers(tokenizer) if answers_only else None
    length = study.model.context_length
    return packed_documents(world, tokenizer, length, n_documents, is_target=is_target)


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS)
def main(results: Path) -> None:
    """Run the comparison and write its results."""
    torch.set_num_threads(1)
    write_results(results, run(Needle()))


if __name__ == "__main__":
    main(prog_name=COMMAND)
