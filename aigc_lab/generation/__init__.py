"""Writing with a language model."""
