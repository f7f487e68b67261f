"""Models and their parts: positions, attention, small Transformers."""
