"""The axioms of attribution as one table: every method by what its card claims, on random networks and on the corpus."""
