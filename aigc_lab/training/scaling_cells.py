"""One cell of the scaling study: its documents, its model, its training, its measurement."""

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from aigc_lab.data.batches import Batch, PackedDocuments
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.data.tiny_world.settings import KINDS
from aigc_lab.models.gpt import GPT, GPTConfig, n_parameters
from aigc_lab.training.loop import mean_loss, train
from aigc_lab.training.making_data import START, make_tokenizer
from aigc_lab.training.optimizers import make_optimizers
from aigc_lab.training.run_folder import TrainSettings


def world_of_the_study(seed: int) -> WorldSettings:
    """A mix of all kinds of documents, told fully here: it shall not move with the base model's."""
    return WorldSettings(seed=seed, mix=(0.3, 0.45, 0.15, 0.1), n_events=(2, 6), n_questions=(3, 6))


@dataclass(frozen=True)
class Study:
    """What is trained.

    Args:
        sizes: (d_model, n_layers, n_heads) of each model.
        n_tokens: targets that a model learns from, about; one run for each.
        most_operations: runs that would take more than so many floating-point operations, 6 for
            each parameter and token, are left out.
        learning_rates: the highest rate of each model; wide models want lower ones.
        seeds: of the weights. Every cell has the first; those whose size is among the first
            `n_repeated_sizes` have the others too, except for the largest number of tokens.
        n_repeated_sizes: see `seeds`.
        n_documents: documents of one update.
        context_length: longest document, in tokens.
        n_held_out: documents for the evaluation.
        vocab_size, n_for_tokenizer: tokens of the tokenizer, and documents it is learned from.
        copy_init: of the models, as in `GPTConfig`.
        world, held_out: where the documents come from.

    Raises:
        ValueError: fewer rates than sizes, or the other way round.
    """

    sizes: tuple[tuple[int, int, int], ...] = (
        (24, 2, 2),
        (40, 2, 2),
        (64, 3, 4),
        (96, 4, 4),
        (128, 4, 4),
    )
    n_tokens: tuple[int, ...] = (80_000, 200_000, 500_000, 1_250_000)
    most_operations: float = 2.4e12
    learning_rates: tuple[float, ...] = (3e-2, 3e-2, 2e-2, 1.5e-2, 1e-2)
    seeds: tuple[int, ...] = (0, 1, 2)
    n_repeated_sizes: int = 1
    n_documents: int = 4
    context_length: int = 280
    n_held_out: int = 400
    vocab_size: int = 768
    n_for_tokenizer: int = 2000
    copy_init: float = 0.1
    world: WorldSettings = field(default_factory=lambda: world_of_the_study(seed=70))
    held_out: WorldSettings = field(default_factory=lambda: world_of_the_study(seed=71))

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.learning_rates):
            raise ValueError(
                f"{len(self.sizes)} sizes need as many learning_rates, not "
                f"{len(self.learning_rates)}"
            )

    def config(self, size: int) -> GPTConfig:
        """The model of this size."""
        d_model, n_layers, n_heads = self.sizes[size]
        return GPTConfig(
            self.vocab_size,
            context_length=self.context_length,
            d_model=d_model,
            n_layers=n_layers,
            n_heads=n_heads,
            copy_init=self.copy_init,
        )

    def cells(self) -> list[tuple[int, int, int]]:
        """(size, n_tokens, seed) of every cell, the cheap ones first."""
        found = []
        for size in range(len(self.sizes)):
            for n_tokens in self.n_tokens:
                operations = 6 * non_embedding_parameters(self.config(size)) * n_tokens
                if operations > self.most_operations:
                    continue
                repeats = size < self.n_repeated_sizes and n_tokens < max(self.n_tokens)
                found += [(size, n_tokens, seed) for seed in self.seeds[: None if repeats else 1]]
        return sorted(found, key=lambda c: (c[2], c[1] * self.sizes[c[0]][0] ** 2))


def non_embedding_parameters(config: GPTConfig) -> int:
    """Parameters without the table of embeddings, which says little about a model's power."""
    return n_parameters(config) - config.vocab_size * config.d_model


class Documents:
    """The documents of the study, made and encoded once.

    Args:
        study: which documents.
        show_progress: whether to show a bar.

    Raises:
        ValueError: too few held-out documents for a batch of each kind.
    """

    def __init__(self, study: Study, show_progress: bool = True):
        world = TinyWorld(study.world)
        tokenizer = make_tokenizer(study.world, study.n_for_tokenizer, study.vocab_size)
        self.start_token = tokenizer.special_tokens[START]
        self.ids: list[list[int]] = []
        n_targets = 0
        with tqdm(total=max(study.n_tokens), unit="token", disable=not show_progress) as bar:
            while n_targets < 1.05 * max(study.n_tokens):
                ids = tokenizer.encode(world.document(len(self.ids)).text)
                self.ids.append(ids)
                n_targets += len(ids) + 1
                bar.update(len(ids) + 1)
        self.mean_targets = n_targets / len(self.ids)
        made: dict[str, list] = {kind: [] for kind in KINDS}
        for document in TinyWorld(study.held_out).documents(study.n_held_out):
            made[document.kind].append((tokenizer.encode(document.text), document.log_prob))
        # Of each kind: whole batches, and the world's own loss per target.
        self.held_out: dict[str, tuple[list[Batch], float]] = {}
        for kind, found in made.items():
            n_steps = len(found) // study.n_documents
            if not n_steps:
                raise ValueError(
                    f"n_held_out={study.n_held_out} leaves {len(found)} documents of the kind "
                    f"{kind!r}, less than a batch of {study.n_documents}: take more"
                )
            found = found[: n_steps * study.n_documents]
            source = self._source([ids for ids, _ in found], study)
            floor = -sum(log_prob for _, log_prob in found)
            floor /= sum(len(ids) + 1 for ids, _ in found)
            self.held_out[kind] = [source.batch(step) for step in range(n_steps)], floor

    def _source(self, ids: list[list[int]], study: Study) -> PackedDocuments:
        return PackedDocuments(
            ids.__getitem__, self.start_token, study.context_length, study.n_documents
        )

    def source(self, study: Study) -> PackedDocuments:
        """The documents to learn from."""
        return self._source(self.ids, study)


def run_cell(
    study: Study, cell: tuple[int, int, int], documents: Documents, show_progress: bool = True
) -> dict[str, Any]:
    """Train one cell and measure it.

    Returns:
        Its size, tokens and seed; `excess`, nats per target above the floor over all held-out
        documents; and the loss, the floor and the number of targets of each kind of document.
    """
    size, n_tokens, seed = cell
    config = study.config(size)
    torch.manual_seed(seed)
    model = GPT(config)
    optimizers = make_optimizers(model, study.learning_rates[size], muon=True)
    n_steps = round(n_tokens / (study.n_documents * documents.mean_targets))
    settings = TrainSettings(n_steps, n_warmup=max(1, n_steps // 20), last_rate=0.05, seed=seed)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        log = train(
            model,
            optimizers,
            documents.source(study),
            settings,
            Path(folder) / "run",
            show_progress=show_progress,
        )
    kinds = {
        kind: {
            "loss": round(mean_loss(model, batches), 5),
            "floor": round(floor, 5),
            "n_targets": sum(batch.n_targets for batch in batches),
        }
        for kind, (batches, floor) in documents.held_out.items()
    }
    above = [kind["loss"] - kind["floor"] for kind in kinds.values()]
    excess = np.average(above, weights=[kind["n_targets"] for kind in kinds.values()])
    return {
        "d_model": config.d_model,
        "n_layers": config.n_layers,
        "n_parameters": non_embedding_parameters(config),
        "wanted_tokens": n_tokens,
        "n_tokens": log[-1]["tokens"],
        "seed": seed,
        "excess": round(float(excess), 5),
        "kinds": kinds,
        "seconds": round(time.perf_counter() - start, 1),
    }
