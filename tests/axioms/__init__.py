"""The axioms of attribution as one table: every method by the axioms that its card claims, on random networks and on the corpus."""
