"""How much of a pretrained model to train, from how many examples: three seeds of each.

    python -m aigc_lab download sms-spam
    python -m aigc_lab.training.what_to_train          # half an hour, one core

Two tasks: whether the wish of a story comes true, told without its last sentence; and whether a
short message is spam. What is measured lies in `aigc_lab/weights/what_to_train/results.json`;
chapter 10 prints it.
"""

import dataclasses
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from aigc_lab.data.labelled import (
    Encode,
    Labelled,
    encode_for_bert,
    encode_for_gpt,
    wish_stories,
)
from aigc_lab.data.masking import SENTENCE_END
from aigc_lab.data.sms import content_key, read_messages, split_messages, without_copies
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.evaluation.classification import calibration_error, confusion_matrix, scores
from aigc_lab.models.attention_numpy import softmax
from aigc_lab.models.bag_of_words import NaiveBayes
from aigc_lab.models.bert import BERT
from aigc_lab.models.gpt import GPT
from aigc_lab.models.heads import BERTClassifier, GPTClassifier, train_only
from aigc_lab.models.shipped import FOLDER, load_shipped
from aigc_lab.training.fine_tuning import FineTuning, fine_tune, labels_of, predict
from aigc_lab.training.recorded import reader_of, write_results

RESULTS = FOLDER / "what_to_train" / "results.json"
COMMAND = "python -m aigc_lab.training.what_to_train"
WORDS, LAST_WORDS = "counts of words", "counts, last sentence"
FAR_AWAY = 10**8  # number of a story that no pretraining has read


@dataclass(frozen=True)
class Way:
    """A model, where it starts from, and which part of it learns."""

    model: str
    part: str
    pretrained: bool = True


WAYS = {
    "BERT, random, head": Way("bert", "head", pretrained=False),
    "BERT, random, all": Way("bert", "all", pretrained=False),
    "BERT, head": Way("bert", "head"),
    "BERT, last block": Way("bert", "last block"),
    "BERT, all": Way("bert", "all"),
    "GPT, random, head": Way("gpt", "head", pretrained=False),
    "GPT, random, all": Way("gpt", "all", pretrained=False),
    "GPT, head": Way("gpt", "head"),
    "GPT, last block": Way("gpt", "last block"),
    "GPT, all": Way("gpt", "all"),
}
TASKS = {
    "wishes": tuple(WAYS),
    "messages": ("BERT, random, all", "BERT, all", "GPT, head", "GPT, all"),
}


@dataclass(frozen=True)
class WhatToTrain:
    """What is measured.

    Args:
        n_examples: sizes of the training sets, each the beginning of the next.
        n_test: texts to test with.
        n_steps, batch_size: of each training, the same for all sizes.
        lr, head_lr: highest learning rate, and that of a head alone.
        max_length: most tokens of a text; longer ones lose their end.
        seeds: of the choice of examples, the head's start and the order of the texts.
    """

    n_examples: tuple[int, ...] = (50, 200, 1000)
    n_test: int = 300
    n_steps: int = 60
    batch_size: int = 16
    lr: float = 1e-3
    head_lr: float = 1e-2
    max_length: int = 96
    seeds: tuple[int, ...] = (0, 1, 2)


def make_texts(name: str, task: WhatToTrain, seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """Texts to learn from and to test with; those of the stories are half of each class."""
    n = max(task.n_examples)
    if name == "messages":
        train, _, test = split_messages(read_messages(), 0, task.n_test, seed)
        return train[:n], test
    stories = WorldSettings(mix=(1.0, 0.0, 0.0, 0.0), n_events=(1, 4))
    test = wish_stories(TinyWorld(stories.replace(seed=1)), task.n_test, balanced=True)
    train = wish_stories(TinyWorld(stories), n, (1 + seed) * FAR_AWAY, balanced=True)
    return train, test


def last_sentence(text: str) -> str:
    """The last sentence of a text."""
    return SENTENCE_END.split(text.strip())[-1].strip()


def make_classifier(way: Way, max_length: int) -> tuple[nn.Module, Encode]:
    """A classifier of two classes before its first step, and what makes tokens for it."""
    body, tokenizer = load_shipped("bert" if way.model == "bert" else "base")
    if way.model == "bert":
        bert = body.bert if way.pretrained else BERT(body.config)
        classifier: nn.Module = BERTClassifier(bert, 2)
        encode = partial(encode_for_bert, tokenizer, max_length=max_length)
    else:
        gpt = body if way.pretrained else GPT(body.config)
        classifier = GPTClassifier(gpt, 2)
        encode = partial(encode_for_gpt, tokenizer, max_length=max_length)
    train_only(classifier, way.part)
    return classifier, encode


def measure(logits: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Accuracy, precision, recall and F1 of class 1, and the calibration error."""
    confusion = confusion_matrix(truth, logits.argmax(axis=1), 2)
    p = softmax(logits)[:, 1]
    found = {
        "accuracy": np.trace(confusion) / confusion.sum(),
        **scores(confusion)._asdict(),
        "calibration_error": calibration_error(p, truth == 1),
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def run(task: WhatToTrain, names: tuple[str, ...], show_progress: bool = True) -> dict[str, Any]:
    """All ways, sizes and seeds of these tasks.

    Returns:
        The settings; and for each task "share" of class 1 in the test, for each way and size a list
        of what `measure` gives, one for each seed; for each way also "parameters" that learn and
        "seconds" for a training with the largest size.

    Raises:
        FileNotFoundError: the messages were not downloaded yet; names the command.
    """
    found: dict[str, Any] = {"settings": dataclasses.asdict(task)}
    sizes = len(task.n_examples) * len(task.seeds)
    total = sum(sizes * len(TASKS[name]) for name in names)
    with tqdm(total=total, disable=not show_progress) as bar:
        for name in names:
            found[name] = {"share": 0.0, "scores": {}, "parameters": {}, "seconds": {}}
            for seed in task.seeds:
                _run_seed(found[name], name, task, seed, bar)
    return found


def _run_seed(found: dict[str, Any], name: str, task: WhatToTrain, seed: int, bar: tqdm) -> None:
    examples, test = make_texts(name, task, seed)
    truth = labels_of(test)
    found["share"] += round(float(truth.mean()) / len(task.seeds), 4)

    def note(way: str, n: int, logits: np.ndarray) -> None:
        by_size = found["scores"].setdefault(way, {})
        by_size.setdefault(str(n), []).append(measure(logits, truth))

    read = {WORDS: str, **({LAST_WORDS: last_sentence} if name == "wishes" else {})}
    for way, part in read.items():
        for n in task.n_examples:
            texts, labels = zip(*((part(text), label) for text, label in examples[:n]), strict=True)
            note(way, n, NaiveBayes(texts, labels).logits([part(text) for text, _ in test]))
    for way in TASKS[name]:
        for n in task.n_examples:
            torch.manual_seed(seed)
            model, encode = make_classifier(WAYS[way], task.max_length)
            lr = task.head_lr if WAYS[way].part == "head" else task.lr
            settings = FineTuning(task.n_steps, task.batch_size, lr, seed=seed)
            start = time.perf_counter()
            fine_tune(model, encode, examples[:n], settings)
            found["seconds"][way] = round(time.perf_counter() - start, 1)
            learning = (p.numel() for p in model.parameters() if p.requires_grad)
            found["parameters"][way] = sum(learning)
            note(way, n, predict(model, encode, test))
            bar.update()


def copies(n_test: int = 1000, seed: int = 0) -> dict[str, float]:
    """What messages that come more than once do to a test, by counts of words.

    Returns:
        "n" messages, "n_different" of them, "share_seen" of the spam in a test drawn from all
        messages whose copy is learned from, and the "recall" of spam with and without copies.
    """
    messages = read_messages()
    mixed = [messages[number] for number in np.random.default_rng(seed).permutation(len(messages))]
    recalls = {}
    for name, test, train in (
        ("with_copies", mixed[:n_test], mixed[n_test:]),
        ("without_copies", *reversed(split_messages(messages, 0, n_test, seed)[::2])),
    ):
        texts, labels = zip(*train, strict=True)
        logits = NaiveBayes(texts, labels).logits([text for text, _ in test])
        recalls[name] = measure(logits, labels_of(test))["recall"]
    seen = {content_key(text) for text, _ in mixed[n_test:]}
    spam = [text for text, label in mixed[:n_test] if label]
    return {
        "n": len(messages),
        "n_different": len(without_copies(messages)),
        "share_seen": round(sum(content_key(text) in seen for text in spam) / len(spam), 4),
        **{f"recall_{name}": recall for name, recall in recalls.items()},
    }


load_results = reader_of(RESULTS, COMMAND)


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS)
def main(results: Path) -> None:
    """Run the comparison and write its results."""
    torch.set_num_threads(1)
    found = run(WhatToTrain(), tuple(TASKS))
    found["copies"] = [copies(seed=seed) for seed in WhatToTrain().seeds]
    write_results(results, found)


if __name__ == "__main__":
    main(prog_name=COMMAND)
