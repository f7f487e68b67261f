"""What a model forgets while it learns one thing more: three seeds of each way to teach it.

    python -m aigc_lab.training.forgetting          # twenty minutes, one core

The base model learns to answer the one kind of question that it was never asked, "Where was Mei at
first?", and nothing else. Before and after, it is asked all other kinds. What is measured lies in
`aigc_lab/weights/forgetting/results.json`; chapter 10 prints it. The adapter of `SHIPPED` lies in
`aigc_lab/weights/where_first`.
"""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from aigc_lab.data.batches import PackedDocuments
from aigc_lab.data.chat import START
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.evaluation.world_probes import answer_scores, excess_loss, questions_about
from aigc_lab.models.gpt import GPT
from aigc_lab.models.lora import ADAPTER, add_lora, save_adapter
from aigc_lab.models.shipped import FOLDER, load_shipped
from aigc_lab.training.loop import training_steps
from aigc_lab.training.optimizers import make_optimizers
from aigc_lab.training.packing import FAR_AWAY, in_answers
from aigc_lab.training.recorded import reader_of, write_results
from aigc_lab.training.run_folder import TrainSettings

RESULTS = FOLDER / "forgetting" / "results.json"
SHIPPED, SHIPPED_FOLDER = "LoRA 8, 0.002", FOLDER / "where_first"
COMMAND = "python -m aigc_lab.training.forgetting"
RANKS = (1, 2, 4, 8, 16)
ALPHA = 16.0  # with rank 8, this is 2 · rank
RATES = (2e-4, 3e-4, 5e-4, 1e-3)
LORA_RATES = (1e-3, 1.3e-3, 1.6e-3, 2e-3, 5e-3)


@dataclass(frozen=True)
class Way:
    """A way to teach the new kind of question.

    Args:
        lr: highest learning rate.
        rank: of LoRA; 0 trains all parameters.
        alpha: α of LoRA; 0 for 2 · rank.
        replay: whether as many documents with the old kinds of question are mixed in.
        learns_to_stop: whether the line's end after an answer is learned, too.
    """

    lr: float
    rank: int = 0
    alpha: float = 0.0
    replay: bool = False
    learns_to_stop: bool = True


WAYS = {
    **{f"all, {lr:g}": Way(lr) for lr in RATES},
    **{f"LoRA 8, {lr:g}": Way(lr, rank=8) for lr in LORA_RATES},
    "all, 0.001, with replay": Way(1e-3, replay=True),
    "all, 0.001, never told to stop": Way(1e-3, learns_to_stop=False),
    **{f"LoRA {rank}, 0.002": Way(2e-3, rank=rank) for rank in RANKS if rank != 8},
    **{f"LoRA {rank}, 0.002, α = 16": Way(2e-3, rank, ALPHA) for rank in RANKS if rank != 8},
}


@dataclass(frozen=True)
class Forgetting:
    """What is measured.

    Args:
        n_steps, n_warmup: of each training.
        n_documents: stories of a batch, with two or three questions each.
        seeds: of the paths' start and of the stories.
        n_old, n_new: held-out stories about which all questions of the old kinds, and of the new
            one, are asked.
        n_read: held-out documents of all kinds, for the loss above the floor.
        ways: names out of `WAYS`.
    """

    n_steps: int = 60
    n_warmup: int = 6
    n_documents: int = 4
    seeds: tuple[int, ...] = (0, 1, 2)
    n_old: int = 25
    n_new: int = 40
    n_read: int = 60
    ways: tuple[str, ...] = tuple(WAYS)


def question_world(**settings) -> WorldSettings:
    """Stories, each with two or three questions."""
    return WorldSettings(mix=(0.0, 1.0, 0.0, 0.0), n_questions=(2, 3), **settings)


def new_questions(
    tokenizer: Tokenizer, task: Forgetting, way: Way, context_length: int, seed: int
) -> PackedDocuments:
    """Batches of stories with the new kind of question; only answers are learned."""
    worlds = [TinyWorld(question_world(split="new_questions"))]
    if way.replay:
        worlds.append(TinyWorld(question_world()))
    first = (1 + seed) * FAR_AWAY

    def document_ids(index: int) -> list[int]:
        return tokenizer.encode(worlds[index % len(worlds)].document(first + index).text)

    return PackedDocuments(
        document_ids,
        tokenizer.special_tokens[START],
        context_length,
        task.n_documents * len(worlds),
        is_target=answers_of(tokenizer, with_end=way.learns_to_stop),
    )


def answers_of(tokenizer: Tokenizer, with_end: bool) -> Callable[[Sequence[int]], list[bool]]:
    """Which tokens of a document, and its end, belong to an answer, with or without what ends it.

    What ends an answer is the end of its line, or of the document.
    """

    def is_target(ids: Sequence[int]) -> list[bool]:
        found = in_answers(ids, tokenizer)
        before = [False, *found]
        return [now or (with_end and was) for was, now in zip(before, found, strict=False)]

    return is_target


def teach(base: GPT, tokenizer: Tokenizer, task: Forgetting, way: Way, seed: int) -> GPT:
    """A copy of the base that was taught in this way."""
    torch.manual_seed(seed)
    model = copy.deepcopy(base)
    if way.rank:
        add_lora(model, way.rank, alpha=way.alpha or 2 * way.rank)
    source = new_questions(tokenizer, task, way, model.config.context_length, seed)
    told = TrainSettings(task.n_steps, n_warmup=task.n_warmup)
    for _ in training_steps(model, make_optimizers(model, way.lr, weight_decay=0.01), source, told):
        pass
    return model


class Probes:
    """What a model is asked before and after."""

    def __init__(self, task: Forgetting, tokenizer: Tokenizer):
        held_out = WorldSettings(seed=1)
        self.tokenizer = tokenizer
        self.documents = list(TinyWorld(held_out).documents(task.n_read))
        stories = TinyWorld(question_world(seed=1)).documents(task.n_old)
        self.old = questions_about(stories, held_out.asked_kinds)
        unseen = TinyWorld(question_world(seed=1, split="new_questions")).documents(task.n_new)
        self.new = questions_about(unseen, ("where first",))

    def scores(self, model: GPT) -> dict[str, Any]:
        """Shares of right answers, "old" by kind with "overall", and "new"; "excess" losses."""
        old = answer_scores(model, self.tokenizer, self.old)
        new = answer_scores(model, self.tokenizer, self.new)["overall"]
        excess = excess_loss(model, self.tokenizer, self.documents)
        return {
            "old": {kind: round(share, 4) for kind, share in old.items()},
            "new": round(new, 4),
            "excess": {kind: round(loss, 4) for kind, loss in excess.items()},
        }


def run(
    task: Forgetting, adapter: Path | None = None, show_progress: bool = True
) -> dict[str, Any]:
    """Teach in all ways with all seeds.

    Args:
        task: what is measured.
        adapter: folder for the adapter of `SHIPPED` with the first seed; None for none.
        show_progress: whether to show a bar.

    Returns:
        The settings, the numbers of questions, the scores "before", and "after" for each way a
        list of scores, one for each seed.
    """
    base, tokenizer = load_shipped("base")
    probes = Probes(task, tokenizer)
    after: dict[str, list[dict[str, Any]]] = {name: [] for name in task.ways}
    with tqdm(total=len(task.seeds) * len(task.ways), disable=not show_progress) as bar:
        for seed in task.seeds:
            for name in task.ways:
                model = teach(base, tokenizer, task, WAYS[name], seed)
                after[name].append(probes.scores(model))
                if adapter and name == SHIPPED and seed == task.seeds[0]:
                    save_adapter(model, adapter, torch.float16)
                bar.update()
    return {
        "settings": dataclasses.asdict(task),
        "n_questions": {"old": len(probes.old), "new": len(probes.new)},
        "before": probes.scores(base),
        "after": after,
    }


load_results = reader_of(RESULTS, COMMAND)


def adapter_size(folder: Path = SHIPPED_FOLDER) -> int:
    """Bytes of the shipped adapter's numbers."""
    return (folder / ADAPTER).stat().st_size


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS)
@click.option("--adapter", type=click.Path(path_type=Path), default=SHIPPED_FOLDER)
def main(results: Path, adapter: Path) -> None:
    """Run the comparison, write its results and the adapter."""
    torch.set_num_threads(1)
    write_results(results, run(Forgetting(), adapter))


if __name__ == "__main__":
    main(prog_name=COMMAND)
