"""Adebayo et al. 2018, "Sanity Checks for Saliency Maps" (arXiv:1810.03292), section 4, again: ``python -m benchmarks.paper``."""
