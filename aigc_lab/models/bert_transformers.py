"""BERT's weights under the names of the `transformers` library, there and back.

Source: the parameters of `transformers.BertForPreTraining`.
"""

from collections.abc import Mapping

import torch

from aigc_lab.models.bert_pretraining import BERTForPretraining

Tensors = dict[str, torch.Tensor]
NAMES = {  # ours: theirs
    "bert.token_embedding": "bert.embeddings.word_embeddings",
    "bert.position_embedding": "bert.embeddings.position_embeddings",
    "bert.segment_embedding": "bert.embeddings.token_type_embeddings",
    "bert.norm": "bert.embeddings.LayerNorm",
    "bert.pooler": "bert.pooler.dense",
    "transform": "cls.predictions.transform.dense",
    "transform_norm": "cls.predictions.transform.LayerNorm",
    "seq_relationship": "cls.seq_relationship",
}
BLOCK_NAMES = {
    "attention.q_proj": "attention.self.query",
    "attention.k_proj": "attention.self.key",
    "attention.v_proj": "attention.self.value",
    "attention.o_proj": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}
BIAS = "cls.predictions.bias"
# Theirs, of which each is another name for a tensor that is stored already.
DECODER = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": BIAS,
}


def to_transformers(model: BERTForPretraining) -> Tensors:
    """The weights as `transformers.BertForPreTraining.load_state_dict` takes them."""
    ours = model.state_dict()
    theirs = {other: ours[name].detach().clone() for name, other in _pairs(model)}
    return theirs | {name: theirs[source] for name, source in DECODER.items()}


@torch.no_grad()
def load_transformers(model: BERTForPretraining, weights: Mapping[str, torch.Tensor]) -> None:
    """Take over the weights of a `transformers.BertForPreTraining`, of the same sizes.

    Args:
        model: changed in place.
        weights: their `state_dict()`, or what a file of theirs holds.

    Raises:
        ValueError: weights that are missing or of another shape, or a decoder of its own.
    """
    ours = model.state_dict()
    pairs = _pairs(model)
    for name, other in pairs:
        if other not in weights:
            raise ValueError(
                f"weights lacks {other!r}, for {name!r}: give the state_dict of a "
                f"BertForPreTraining of at least {model.config.n_layers} layers"
            )
        if weights[other].shape != ours[name].shape:
            raise ValueError(
                f"{other!r} has shape {tuple(weights[other].shape)}, but {name!r} has "
                f"{tuple(ours[name].shape)}: make the model with the sizes of these weights"
            )
    beyond = f"bert.encoder.layer.{model.config.n_layers}."
    if any(name.startswith(beyond) for name in weights):
        raise ValueError(f"weights has a layer {beyond!r}, more than {model.config.n_layers=}")
    for name, source in DECODER.items():
        if name in weights and not torch.equal(weights[name], weights[source]):
            raise ValueError(f"{name!r} differs from {source!r}: here the two are one tensor")
    model.load_state_dict({name: weights[other] for name, other in pairs})


def _pairs(model: BERTForPretraining) -> list[tuple[str, str]]:
    """Every tensor's name here and there."""
    names = dict(NAMES)
    for layer in range(model.config.n_layers):
        for name, other in BLOCK_NAMES.items():
            names[f"bert.blocks.{layer}.{name}"] = f"bert.encoder.layer.{layer}.{other}"
    pairs = [("prediction_bias", BIAS)]
    for tensor in model.state_dict():
        name, _, part = tensor.rpartition(".")
        if name in names:
            pairs.append((tensor, f"{names[name]}.{part}"))
    return pairs
