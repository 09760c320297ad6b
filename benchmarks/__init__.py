"""Measurements against the peers, always as multiples of one plain onnxruntime forward. Run by ``make bench``."""
