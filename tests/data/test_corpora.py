"""Real text that needs no network."""

import ast

import pytest

from aigc_lab.data import corpora


def test_python_docs_are_text_and_sorted():
    docs = corpora.python_docs()
    assert sum(map(len, docs)) > 300_000
    assert corpora.python_docs() == docs
    assert any("Python" in text and "iterate" in text for text in docs)


def test_book_pages_hold_english_and_chinese():
    pages = corpora.book_pages()
    assert any("From text to tokens" in page for page in pages)
    assert len(corpora.chinese_sentences(pages)) >= 40


def test_book_pages_without_a_checkout(tmp_path):
    with pytest.raises(FileNotFoundError, match="clone the repository"):
        corpora.book_pages(tmp_path)


def test_chinese_sentences():
    texts = [
        "一二三四五六七。一二三四五六七八。一二三四五六七八！没有句号的一行文字不算",
        "no Chinese. 一二三四五六七八 with more English than Chinese around it。\n",
    ]
    assert corpora.chinese_sentences(texts) == ["一二三四五六七八。", "一二三四五六七八！"]


def test_code_samples_are_dedented_python_of_two_lines():
    text = (
        "Prose.\n\n   for x in y:\n       print(x)\n\nMore prose:\n\n   single = 1\n\n"
        "   not python at all\n   neither is this\n"
    )
    assert corpora.code_samples([text]) == ["for x in y:\n    print(x)"]
    samples = corpora.code_samples(corpora.python_docs())
    assert len(samples) > 20
    for sample in samples:
        ast.parse(sample)


@pytest.mark.parametrize(
    ("text", "expected"), [("x = 1", True), ("x = ", False), ("a\0b", False), ("", True)]
)
def test_is_python(text, expected):
    assert corpora.is_python(text) is expected
