"""The kinds of model that recipes train: which class builds one, and what cuts its texts."""

from pathlib import Path
from typing import Any

from torch import nn

from aigc_lab.data.sentence_batches import Vocabularies
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.models.bert import BERTConfig
from aigc_lab.models.bert_pretraining import BERTForPretraining
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.heads import ReaderConfig, SpanReader
from aigc_lab.models.recurrent import RecurrentConfig, RecurrentTranslator
from aigc_lab.models.reward_model import RewardConfig, RewardModel
from aigc_lab.models.transformer import Transformer, TransformerConfig

# Configuration → model.
CLASSES: dict[type, type[nn.Module]] = {
    GPTConfig: GPT,
    BERTConfig: BERTForPretraining,
    ReaderConfig: SpanReader,
    RewardConfig: RewardModel,
    TransformerConfig: Transformer,
    RecurrentConfig: RecurrentTranslator,
}
TRANSLATORS = (TransformerConfig, RecurrentConfig)


def build_model(config: Any) -> nn.Module:
    """A model with new weights.

    Raises:
        ValueError: a configuration of no kind that there is.
    """
    if type(config) not in CLASSES:
        names = ", ".join(kind.__name__ for kind in CLASSES)
        raise ValueError(f"{config!r} is no model's configuration: it must be one of {names}")
    return CLASSES[type(config)](config)


def config_of(kind: str, settings: dict[str, Any]) -> Any:
    """The configuration of a kind, by name.

    Raises:
        KeyError: an unknown kind.
        TypeError, ValueError: settings that it does not have, or refuses.
    """
    return {known.__name__: known for known in CLASSES}[kind](**settings)


def load_tokenizer(config: Any, path: str | Path) -> Tokenizer | Vocabularies:
    """What cuts the texts of such a model, from a file.

    Raises:
        TokenizerFileError: a damaged file.
    """
    return (Vocabularies if isinstance(config, TRANSLATORS) else Tokenizer).load(path)


def has_vocabulary_of(config: Any, tokenizer: Tokenizer | Vocabularies) -> bool:
    """Whether a model has a row of its tables for each token."""
    if isinstance(tokenizer, Vocabularies):
        sizes = len(tokenizer.source), len(tokenizer.target)
        return (config.source_vocab_size, config.target_vocab_size) == sizes
    return config.vocab_size == tokenizer.vocab_size
