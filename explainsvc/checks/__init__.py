"""Checks of explanations: one file a check."""
