"""Alignment: rewards from human feedback, and models that learn from them."""
