"""Figures and measurements."""
