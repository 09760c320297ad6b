"""Relevance rules: what replaces the vjp at some nodes. The LRP family stays in files named ``lrp*``."""
