"""Recipes are values: complete, hashed over all that matters, and found by name."""

import dataclasses

import pytest

from aigc_lab.data.tiny_world import lexicon
from aigc_lab.training.recipes import PRESETS, RECIPES, Recipe, TextData, WorldData, get_recipe


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_recipe_knows_its_name_and_has_a_hash_of_its_own(name, preset):
    recipe = get_recipe(name, preset)
    assert (recipe.name, recipe.preset) == (name, preset)
    assert recipe == get_recipe(name, preset)
    assert recipe.sha256() == get_recipe(name, preset).sha256()
    others = [get_recipe(n, p) for n in RECIPES for p in PRESETS if (n, p) != (name, preset)]
    assert recipe.sha256() not in {other.sha256() for other in others}


@pytest.mark.parametrize("name", RECIPES)
def test_quick_is_quicker(name):
    assert get_recipe(name, "quick").training.n_steps < get_recipe(name).training.n_steps


def test_what_is_unknown_is_named_with_the_choices():
    with pytest.raises(ValueError, match=r"no recipe 'gpt5'; choose from shakespeare, .*base"):
        get_recipe("gpt5")
    for name in RECIPES:
        with pytest.raises(ValueError, match="no preset 'fast'; choose from quick, full"):
            get_recipe(name, "fast")


def changed_everywhere(value):
    """A copy of a dataclass for every number or flag in it, with that one changed."""
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        if dataclasses.is_dataclass(inner):
            for other in changed_everywhere(inner):
                yield dataclasses.replace(value, **{field.name: other})
        elif isinstance(inner, bool):
            yield dataclasses.replace(value, **{field.name: not inner})
        elif isinstance(inner, int | float):
            # Halving suits all settings but those that are whole, and those at their least.
            other = inner + 1 if isinstance(inner, int) else inner / 2 + 0.001
            try:
                yield dataclasses.replace(value, **{field.name: other})
            except ValueError:
                yield dataclasses.replace(value, **{field.name: 2 * inner})


@pytest.mark.parametrize("name", ["shakespeare", "base"])
def test_the_hash_covers_every_setting(name):
    recipe = get_recipe(name)
    hashes = [other.sha256() for other in changed_everywhere(recipe)]
    assert len(hashes) > 20
    assert len({recipe.sha256(), *hashes}) == len(hashes) + 1


def test_the_hash_covers_the_tokenizer_and_the_words_of_the_world(monkeypatch):
    recipe = get_recipe("base")
    before = recipe.sha256(b"a")
    assert before != recipe.sha256(b"b")
    person = recipe.data.world.people[0]
    words = recipe.data.world.replace(people=recipe.data.world.people[1:])
    other = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, world=words))
    assert other.sha256(b"a") != before
    # The same settings, but the world says something else.
    monkeypatch.setattr("aigc_lab.data.tiny_world.world.TinyWorld.document", _other_document)
    assert recipe.sha256(b"a") != before
    assert person in lexicon.PEOPLE


def _other_document(self, index):
    from aigc_lab.data.tiny_world import Document

    return Document("story", f"Something else, {index}.", -1.0)


def test_the_baseline_has_the_usual_budget():
    """nanoGPT's recipe for a processor: 4 layers, 128 wide, context 64, batch 12, 2,000 steps."""
    recipe = get_recipe("shakespeare-baseline")
    model, training = recipe.model, recipe.training
    assert (model.n_layers, model.d_model, model.n_heads) == (4, 128, 4)
    assert (model.context_length, recipe.data.batch_size, training.n_steps) == (64, 12, 2000)
    assert (model.positions, model.norm, model.activation) == ("learned", "layer", "gelu")
    assert model.bias and not recipe.muon and training.accumulate == 1


def test_recipes_are_frozen():
    for name in RECIPES:
        recipe = get_recipe(name)
        assert isinstance(recipe, Recipe) and isinstance(recipe.data, TextData | WorldData)
        with pytest.raises(dataclasses.FrozenInstanceError):
            recipe.lr = 1.0
        hash(recipe)
