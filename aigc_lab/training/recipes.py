"""The recipes of the book's models.

Each has two presets: "quick" takes about a minute on two processor cores, enough to see the curve
bend; "full" makes the model that the book shows.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from aigc_lab.data.chat import CHAT_TOKENS
from aigc_lab.data.sentence_batches import START
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.models.attention_starts import LOOKING_UP
from aigc_lab.models.bert import BERTConfig
from aigc_lab.models.gpt import GPTConfig
from aigc_lab.models.heads import ReaderConfig
from aigc_lab.models.recurrent import RecurrentConfig
from aigc_lab.models.transformer import TransformerConfig
from aigc_lab.training.recipe import Recipe
from aigc_lab.training.recipe_data import (
    ConversationData,
    Lesson,
    MaskedData,
    PairData,
    SpanData,
    TextData,
    WorldData,
)
from aigc_lab.training.run_folder import TrainSettings

PRESETS = ("quick", "full")
# Words of English, characters of Chinese, and the special tokens of both.
N_ENGLISH, N_CHINESE = 121, 151
BERT_PAD = 764  # the first of the four special tokens, which come last
N_MARKS = len(CHAT_TOKENS)


def get_recipe(name: str, preset: str = "full") -> Recipe:
    """The recipe of this name.

    Raises:
        ValueError: an unknown recipe or preset; names those that there are.
    """
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}; choose from {', '.join(RECIPES)}")
    return RECIPES[name](preset)


def shakespeare_baseline(preset: str) -> Recipe:
    """A plain GPT-2 with AdamW on tiny Shakespeare: the usual small recipe for a processor."""
    n_steps = _choose(preset, quick=450, full=2000)
    return Recipe(
        name="shakespeare-baseline",
        preset=preset,
        model=GPTConfig.gpt2(vocab_size=65, context_length=64, d_model=128, n_layers=4, n_heads=4),
        data=TextData("tinyshakespeare.txt", held_out=0.1, batch_size=12),
        training=TrainSettings(
            n_steps=n_steps, n_warmup=100, last_rate=0.1, log_every=50, evaluate_every=n_steps // 4
        ),
        lr=1e-3,
    )


def shakespeare(preset: str) -> Recipe:
    """Tiny Shakespeare with what has been learned since GPT-2.

    A step costs twice as much as the baseline's, mostly for Muon's matrix products; 920 of them
    take a little less time than its 2,000.
    """
    n_steps = _choose(preset, quick=250, full=920)
    return Recipe(
        name="shakespeare",
        preset=preset,
        model=GPTConfig.llama(65, context_length=64, d_model=128, n_layers=4, n_heads=4),
        data=TextData("tinyshakespeare.txt", held_out=0.1, batch_size=16),
        training=TrainSettings(
            n_steps=n_steps, n_warmup=20, log_every=50, evaluate_every=n_steps // 4
        ),
        lr=6e-3,
        muon=True,
    )


def base(preset: str) -> Recipe:
    """The base model of the book: it speaks the language of the tiny world.

    From random values and outputs it stays for a long time on a plateau, on which what was
    mentioned before is no likelier than anything else; chapter 07 shows it. The three settings
    that end in `_init` and the lessons are there to leave it.
    """
    n_steps = _choose(preset, quick=60, full=5000)
    return Recipe(
        name="base",
        preset=preset,
        model=GPTConfig.llama(
            768,
            context_length=320,
            d_model=128,
            n_layers=5,
            n_heads=4,
            bias=True,
            **LOOKING_UP,
        ),
        data=WorldData(
            world=WorldSettings(),
            held_out=WorldSettings(seed=1),
            n_documents=24,  # 13 rows, 90 % full
            n_held_out=200,
            vocab_size=768,
            n_for_tokenizer=5000,
            lessons=(
                Lesson(n_steps // 12, n_documents=12, n_events=(0, 2)),
                Lesson(n_steps // 8, n_documents=12, n_events=(0, 5)),
            ),
        ),
        training=TrainSettings(
            n_steps=n_steps,
            n_warmup=20,
            log_every=10,
            evaluate_every=n_steps // 8,
            checkpoint_every=100,
        ),
        lr=1e-2,
        muon=True,
        muon_lr=4e-3,
    )


def chat(preset: str) -> Recipe:
    """The base model, taught to converse."""
    n_steps = _choose(preset, quick=40, full=1200)
    whole = base("full")
    return Recipe(
        name="chat",
        preset=preset,
        model=dataclasses.replace(whole.model, vocab_size=whole.model.vocab_size + N_MARKS),
        data=ConversationData(
            world=WorldSettings(),
            held_out=WorldSettings(seed=1),
            n_conversations=_choose(preset, quick=12, full=24),
            n_held_out=192,
        ),
        training=TrainSettings(
            n_steps=n_steps,
            n_warmup=n_steps // 20,
            log_every=10,
            evaluate_every=n_steps // 4,
            checkpoint_every=100,
        ),
        lr=_choose(preset, quick=1e-2, full=2e-3),
        muon=True,
        muon_lr=_choose(preset, quick=4e-3, full=1.5e-3),
        start="base",
    )


def bert(preset: str) -> Recipe:
    """The book's BERT: it reads stories of the tiny world in both directions."""
    n_steps = _choose(preset, quick=200, full=5000)
    world = WorldSettings(mix=(1.0, 0.0, 0.0, 0.0), n_events=(1, 4))
    return Recipe(
        name="bert",
        preset=preset,
        model=BERTConfig(
            768,
            pad_token=BERT_PAD,
            max_length=128,
            d_model=128,
            n_layers=3,
            n_heads=4,
            init_std=0.088,
            copy_init=1.0,
            match_init=0.7,
        ),
        data=MaskedData(
            world=world,
            held_out=world.replace(seed=1),
            for_tokenizer=WorldSettings(),
            batch_size=16,
            max_length=96,
            n_held_out=384,
            vocab_size=768,
            n_for_tokenizer=2000,
        ),
        training=TrainSettings(
            n_steps=n_steps,
            n_warmup=_choose(preset, quick=20, full=100),
            log_every=25,
            evaluate_every=n_steps // 8,
            checkpoint_every=100,
        ),
        lr=3e-3,
        weight_decay=0.01,
        muon=True,
    )


def reader(preset: str) -> Recipe:
    """BERT, fine-tuned to mark where a story answers a question.

    Asked for answers at once, it stays on a plateau on which the question is hardly read; so at
    first it learns to find in the story the word that the question is about.
    """
    n_steps = _choose(preset, quick=120, full=3600)
    whole = bert("full")
    return Recipe(
        name="reader",
        preset=preset,
        model=ReaderConfig(**dataclasses.asdict(whole.model)),
        data=SpanData(
            world=whole.data.world,
            held_out=whole.data.held_out,
            n_stories=12,
            n_each=4,
            n_held_out=96,
            n_finding=_choose(preset, quick=100, full=500),
            lessons=(Lesson(n_steps // 4, n_documents=12, n_events=(0, 2)),),
        ),
        training=TrainSettings(
            n_steps=n_steps,
            n_warmup=_choose(preset, quick=20, full=50),
            log_every=25,
            evaluate_every=n_steps // 8,
            checkpoint_every=100,
        ),
        lr=3e-3,
        weight_decay=0.01,
        muon=True,
        start="bert",
    )


def translator(preset: str) -> Recipe:
    """A Transformer that translates the tiny world's English into Chinese."""
    words = {"source_vocab_size": N_ENGLISH, "target_vocab_size": N_CHINESE, "start_token": START}
    size = _choose(preset, quick={"d_model": 64, "n_layers": 1}, full={"d_model": 128})
    return _translating("translator", preset, TransformerConfig(**words, **size))


def translator_lstm(preset: str) -> Recipe:
    """An LSTM encoder and decoder with nothing but the last state between them."""
    return _recurrent("translator-lstm", preset, attention=False)


def translator_attention(preset: str) -> Recipe:
    """The same LSTMs, and attention from each state of the decoder to those of the encoder."""
    return _recurrent("translator-attention", preset, attention=True)


def _recurrent(name: str, preset: str, *, attention: bool) -> Recipe:
    width = _choose(preset, quick=64, full=128)
    config = RecurrentConfig(
        N_ENGLISH, N_CHINESE, d_model=width, attention=attention, start_token=START
    )
    return _translating(name, preset, config)


def _translating(name: str, preset: str, model: TransformerConfig | RecurrentConfig) -> Recipe:
    n_steps = _choose(preset, quick=400, full=800)
    return Recipe(
        name=name,
        preset=preset,
        model=model,
        data=PairData(
            batch_size=_choose(preset, quick=32, full=64),
            n_held_out=256,
            n_for_vocabulary=3000,
        ),
        training=TrainSettings(
            n_steps=n_steps,
            n_warmup=n_steps // 10,
            log_every=20,
            evaluate_every=n_steps // 4,
            checkpoint_every=100,
        ),
        lr=_choose(preset, quick=5e-3, full=2e-3),
        weight_decay=0.01,
    )


RECIPES: dict[str, Callable[[str], Recipe]] = {
    "shakespeare": shakespeare,
    "shakespeare-baseline": shakespeare_baseline,
    "base": base,
    "chat": chat,
    "bert": bert,
    "reader": reader,
    "translator": translator,
    "translator-lstm": translator_lstm,
    "translator-attention": translator_attention,
}


def _choose(preset: str, *, quick: Any, full: Any) -> Any:
    if preset not in PRESETS:
        raise ValueError(f"there is no preset {preset!r}; choose from {', '.join(PRESETS)}")
    return quick if preset == "quick" else full
