"""Text: corpora and tokenizers. Nothing here needs torch."""
