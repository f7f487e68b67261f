"""Collecting human feedback: pairs of answers, votes on them, a page and a notebook form."""
