"""Kinds of model: each configuration has a class, a name, and a tokenizer that fits."""

import pytest
import torch

from aigc_lab.data.sentence_batches import Vocabularies, Vocabulary
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.models.bert import BERTConfig
from aigc_lab.models.gpt import GPTConfig
from aigc_lab.models.heads import ReaderConfig
from aigc_lab.models.kinds import (
    CLASSES,
    build_model,
    config_of,
    has_vocabulary_of,
    load_tokenizer,
)
from aigc_lab.models.modes import evaluation_mode
from aigc_lab.models.recurrent import RecurrentConfig
from aigc_lab.models.transformer import TransformerConfig

BOTH = Vocabularies(Vocabulary("ab"), Vocabulary("abcd"))
CONFIGS = [
    GPTConfig(256, d_model=8, n_heads=2, n_layers=1),
    BERTConfig(256, 0, d_model=8, n_heads=2, n_layers=1),
    ReaderConfig(256, 0, d_model=8, n_heads=2, n_layers=1),
    TransformerConfig(5, 7, d_model=8, n_heads=2, n_layers=1),
    RecurrentConfig(5, 7, d_model=8),
]
every_kind = pytest.mark.parametrize("config", CONFIGS, ids=lambda c: type(c).__name__)


@every_kind
def test_a_configuration_comes_back_by_name_and_builds_its_model(config):
    assert config_of(type(config).__name__, vars(config)) == config
    model = build_model(config)
    assert model.config == config and type(model) is CLASSES[type(config)]


@every_kind
def test_tokenizers_that_fit_and_that_do_not(config, tmp_path):
    fitting = BOTH if hasattr(config, "source_vocab_size") else Tokenizer()
    assert has_vocabulary_of(config, fitting)
    swapped = Vocabularies(BOTH.target, BOTH.source)
    assert not has_vocabulary_of(CONFIGS[3], swapped)
    fitting.save(tmp_path / "tokenizer.json")
    assert type(load_tokenizer(config, tmp_path / "tokenizer.json")) is type(fitting)


def test_what_is_no_kind():
    with pytest.raises(ValueError, match=r"3 is no model's configuration: .*GPTConfig"):
        build_model(3)
    with pytest.raises(KeyError):
        config_of("MambaConfig", {})


@pytest.mark.parametrize("was_training", [True, False])
def test_a_model_is_back_in_its_mode_also_after_an_error(was_training):
    model = torch.nn.Dropout().train(was_training)
    with pytest.raises(ZeroDivisionError), evaluation_mode(model):
        assert not model.training
        1 / 0  # noqa: B018
    assert model.training == was_training
