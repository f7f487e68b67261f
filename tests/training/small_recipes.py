"""Recipes cut down to seconds."""

import dataclasses

from aigc_lab.training.recipe_data import ConversationData, MaskedData, PairData, SpanData, TextData
from aigc_lab.training.recipes import get_recipe

TEXT = "To be, or not to be: that is the question.\n" * 40


def tiny(name: str, n_steps: int = 3):
    """A recipe cut down to seconds."""
    recipe = get_recipe(name, "quick")
    if isinstance(recipe.data, PairData):
        small = {"d_model": 8, "max_length": 80}
        model = dataclasses.replace(recipe.model, **small)
        data = dataclasses.replace(recipe.data, batch_size=4, n_held_out=8)
        return dataclasses.replace(recipe, model=model, data=data, training=_short(recipe, n_steps))
    if isinstance(recipe.data, MaskedData):
        small = {"d_model": 8, "n_layers": 1, "n_heads": 2, "vocab_size": 400, "pad_token": 396}
        model = dataclasses.replace(recipe.model, **small)
        data = dataclasses.replace(
            recipe.data, batch_size=4, n_held_out=8, vocab_size=400, n_for_tokenizer=50
        )
        return dataclasses.replace(recipe, model=model, data=data, training=_short(recipe, n_steps))
    if isinstance(recipe.data, SpanData):  # as large as the model that it starts from
        data = dataclasses.replace(
            recipe.data, n_stories=2, n_each=2, n_held_out=4, n_finding=1, lessons=()
        )
        return dataclasses.replace(recipe, data=data, training=_short(recipe, n_steps))
    if isinstance(recipe.data, ConversationData):  # as large as the model that it starts from
        data = dataclasses.replace(recipe.data, n_conversations=2, n_held_out=2)
        return dataclasses.replace(recipe, data=data, training=_short(recipe, n_steps))
    small = {"context_length": 32, "d_model": 16, "n_layers": 1, "n_heads": 2}
    if isinstance(recipe.data, TextData):
        model = dataclasses.replace(recipe.model, vocab_size=len(set(TEXT)), **small)
        data = recipe.data
    else:
        model = dataclasses.replace(recipe.model, **small | {"context_length": 700}, vocab_size=400)
        data = dataclasses.replace(
            recipe.data,
            vocab_size=400,
            n_for_tokenizer=50,
            n_documents=6,
            n_held_out=18,
            lessons=(),
        )
    return dataclasses.replace(recipe, model=model, data=data, training=_short(recipe, n_steps))


def _short(recipe, n_steps):
    return dataclasses.replace(
        recipe.training, n_steps=n_steps, n_warmup=1, log_every=1, evaluate_every=2
    )
