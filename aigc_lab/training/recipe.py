"""A recipe: everything that decides what a trained model becomes, as plain values."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from aigc_lab.models.bert import BERTConfig
from aigc_lab.models.gpt import GPTConfig
from aigc_lab.models.heads import ReaderConfig
from aigc_lab.models.recurrent import RecurrentConfig
from aigc_lab.models.shipped import weights_hash
from aigc_lab.models.transformer import TransformerConfig
from aigc_lab.training.recipe_data import (
    ConversationData,
    MaskedData,
    PairData,
    SpanData,
    TextData,
    WorldData,
)
from aigc_lab.training.run_folder import TrainSettings


@dataclass(frozen=True)
class Recipe:
    """How to make a model.

    Args:
        name, preset: of the recipe.
        model: its architecture; its vocabulary must be that of the data.
        data: what it learns from.
        training: how long, with which schedule.
        lr: highest learning rate.
        weight_decay: of matrices.
        muon: whether the matrices in the blocks are trained by Muon; else by AdamW like the rest.
        muon_lr: highest learning rate of Muon, if it is not `lr`.
        seed: of the initial weights, and of the draw of windows.
        start: name of the shipped model with whose weights and tokenizer the training begins; the
            parameters that it lacks are new.
    """

    name: str
    preset: str
    model: GPTConfig | BERTConfig | ReaderConfig | TransformerConfig | RecurrentConfig
    data: TextData | WorldData | PairData | MaskedData | ConversationData | SpanData
    training: TrainSettings
    lr: float
    weight_decay: float = 0.1
    muon: bool = False
    muon_lr: float | None = None
    seed: int = 0
    start: str | None = None

    def sha256(self, tokenizer: bytes = b"") -> str:
        """Hash over all that decides what comes out.

        Two models of the same hash were made in the same way. The hash covers the settings, the
        file of the tokenizer, the weights that training begins with, and of a world also its first
        documents, which change when its words do.

        Args:
            tokenizer: content of the tokenizer's file.
        """
        settings = dataclasses.asdict(self)
        if self.start is None:  # as if there were no such setting: most models begin at random
            del settings["start"]
        else:
            settings["start"] = weights_hash(self.start)
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        digest.update(hashlib.sha256(tokenizer).digest())
        for text in self.data.samples():
            digest.update(hashlib.sha256(text.encode()).digest())
        return digest.hexdigest()
