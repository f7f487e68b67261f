"""Spans of characters as spans of tokens, against the tokenizers library's own offsets."""

import pytest
import tokenizers
import torch

from aigc_lab.data.masking import CLS, SEP, encode_pairs, make_masking_tokenizer
from aigc_lab.data.spans import (
    ABSENT,
    SpanQuestion,
    StoryQuestions,
    encode_questions,
    token_offsets,
)
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.data.tokenizer import Tokenizer

WORLD = TinyWorld(WorldSettings(mix=(1, 0, 0, 0), n_events=(1, 4)))
TOKENIZER = make_masking_tokenizer((d.text for d in WORLD.documents(200)), 500)
CONTEXT = "Mei had a red lamp. Then Bao took the lamp."


def question(answer: str, context: str = CONTEXT) -> SpanQuestion:
    start = context.index(answer) if answer else -1
    end = start + len(answer) if answer else -1
    return SpanQuestion("What does Mei have?", context, start, end, "what has")


def test_offsets_are_those_of_the_tokenizers_library():
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=400, initial_alphabet=sorted(alphabet))
    text = "Mei gave the lamp to Bao, the naïve café owner. 你好 😀!"
    theirs.train_from_iterator([text, text], trainer)
    for some in (text, CONTEXT, "é", "😀😀", "a"):
        offsets = token_offsets(TOKENIZER, some)
        pieces = [TOKENIZER.token_bytes(token) for token in TOKENIZER.encode(some)]
        assert len(offsets) == len(pieces)
        for (start, end), piece in zip(offsets, pieces, strict=True):
            if piece.isascii():
                assert some[start:end].encode() == piece
            else:
                assert piece in some[start:end].encode()
        covered = {place for start, end in offsets for place in range(start, end)}
        assert covered == set(range(len(some)))
    # Where both cut alike, bytes by bytes, the numbers are the same.
    plain = tokenizers.Tokenizer(tokenizers.models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    plain.pre_tokenizer = theirs.pre_tokenizer
    assert token_offsets(Tokenizer(), text) == plain.encode(text).offsets


def test_what_is_marked_is_the_answer():
    for answer in ("lamp", "Bao", "red", "red lamp", "Mei", CONTEXT):
        batch = encode_questions(TOKENIZER, [question(answer)], 64)
        start, end = int(batch.starts[0]), int(batch.ends[0])
        assert batch.text(0, start, end, CONTEXT) == answer.strip()
        assert batch.allowed[0, start] and batch.allowed[0, end]
        inside = TOKENIZER.decode(batch.tokens[0, start : end + 1].tolist())
        assert answer in inside and len(inside) <= len(answer) + 2


def test_rows_of_different_lengths():
    questions = [question("red"), question(""), question("two", "She had two.")]
    batch = encode_questions(TOKENIZER, questions, 64)
    pairs = [(q.question, q.context) for q in questions]
    tokens, mask, segments = encode_pairs(TOKENIZER, pairs, 64)
    assert torch.equal(batch.tokens, tokens) and torch.equal(batch.attention_mask, mask)
    assert torch.equal(batch.segments, segments)
    assert (batch.starts[1], batch.ends[1]) == (ABSENT, ABSENT)
    special = TOKENIZER.special_tokens
    assert (tokens[:, ABSENT] == special[CLS]).all() and batch.allowed[:, ABSENT].all()
    for row in range(3):
        inside = batch.allowed[row, 1:]
        assert torch.equal(inside, ((segments == 1) & (tokens != special[SEP]))[row, 1:])
        n = len(TOKENIZER.encode(questions[row].context))
        assert inside.sum() == n == len(batch.offsets[row][0])
    assert batch.n_targets == 3 and batch.shape == tokens.shape
    assert (
        batch.to("cpu").text(2, int(batch.starts[2]), int(batch.ends[2]), "She had two.") == "two"
    )


def test_places_that_are_no_span_are_refused():
    batch = encode_questions(TOKENIZER, [question("red")], 64)
    assert batch.text(0, 0, 0, CONTEXT) == ""
    first, last = batch.offsets[0][1], int(batch.attention_mask.sum()) - 2
    assert batch.text(0, first, last, CONTEXT) == CONTEXT
    lamp = TOKENIZER.encode(" lamp")[0]
    for start, end in ((lamp, lamp), (first - 1, first), (first + 1, first), (first, last + 1)):
        with pytest.raises(ValueError, match="are these token ids in place of positions"):
            batch.text(0, start, end, CONTEXT)


def test_batches_are_a_function_of_the_step():
    settings = {"n_stories": 4, "n_each": 3}
    source = StoryQuestions(WORLD, TOKENIZER, **settings)
    assert torch.equal(source.batch(2).tokens, source.batch(2).tokens)
    assert source.questions(0) != source.questions(1)
    later = StoryQuestions(WORLD, TOKENIZER, **settings, first_story=4)
    assert later.questions(0) == source.questions(1)
    stories = {q.context for q in source.questions(0)}
    assert len(stories) == 4 and len(source.questions(0)) <= 12
    short = StoryQuestions(WORLD, TOKENIZER, **settings, max_length=95)
    kept = [q for step in range(6) for q in short.questions(step)]
    all_ = [q for step in range(6) for q in source.questions(step)]
    assert 0 < len(kept) < len(all_) and set(kept) < set(all_)
    assert all(short.batch(step).shape[1] <= 95 for step in range(6) if short.questions(step))
    easy = StoryQuestions(WORLD, TOKENIZER, **settings, find_words=True).questions(0)
    assert [q.question for q in easy] == [q.question for q in source.questions(0)]
    assert all(not q.answer or q.answer in q.question for q in easy)
    with pytest.raises(ValueError, match="n_each=0"):
        StoryQuestions(WORLD, TOKENIZER, 1, 0)
