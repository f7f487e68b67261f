"""Recipes are values: complete, hashed over all that matters, and found by name."""

import dataclasses

import pytest

from aigc_lab.data.tiny_world import chinese, lexicon
from aigc_lab.training.recipes import PRESETS, RECIPES, Recipe, get_recipe


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
        elif isinstance(inner, bool | int | float):
            # Halving suits all settings but those that are whole, and those at their least.
            if isinstance(inner, bool):
                others = [not inner]
            else:
                others = [inner + 1 if isinstance(inner, int) else inner / 2 + 0.001, 2 * inner]
            try_out = (possible(value, field.name, other) for other in others if other != inner)
            found = next((copy for copy in try_out if copy is not None), None)
            # Biases and the start that needs them can only be changed together.
            assert found is not None or field.name in ("bias", "look_back_init")
            if found is not None:
                yield found


def possible(value, name, other):
    """A copy with one field changed, or None if there can be no such thing."""
    try:
        return dataclasses.replace(value, **{name: other})
    except ValueError:
        return None


@pytest.mark.parametrize("name", ["shakespeare", "base"])
def test_the_hash_covers_every_setting(name):
    recipe = get_recipe(name)
    hashes = [other.sha256() for other in changed_everywhere(recipe)]
    assert len(hashes) > 20
    assert len({recipe.sha256(), *hashes}) == len(hashes) + 1


def test_the_hash_covers_the_lessons_and_the_rate_of_muon():
    recipe = get_recipe("base")
    first, *rest = recipe.data.lessons
    hashes = {recipe.sha256(), dataclasses.replace(recipe, muon_lr=0.123).sha256()}
    for change in ({"n_steps": 1}, {"n_documents": 1}, {"n_events": (1, 1)}):
        lessons = (dataclasses.replace(first, **change), *rest)
        data = dataclasses.replace(recipe.data, lessons=lessons)
        hashes.add(dataclasses.replace(recipe, data=data).sha256())
    assert len(hashes) == 5


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
        assert isinstance(recipe, Recipe)
        assert dataclasses.is_dataclass(recipe.data)
        with pytest.raises(dataclasses.FrozenInstanceError):
            recipe.lr = 1.0
        hash(recipe)


@pytest.mark.parametrize("name", ["translator", "translator-lstm"])
def test_the_hash_changes_with_a_word_of_either_language(name, monkeypatch):
    before = get_recipe(name).sha256()
    with monkeypatch.context() as patch:
        patch.setitem(chinese.TIMES, "yesterday", "昨日")
        assert get_recipe(name).sha256() != before
    with monkeypatch.context() as patch:
        patch.setattr(lexicon, "COLOURS", (*lexicon.COLOURS[:-1], "grey"))
        patch.setitem(chinese.COLOURS, "grey", "灰色的")
        assert get_recipe(name).sha256() != before
    assert get_recipe(name).sha256() == before
