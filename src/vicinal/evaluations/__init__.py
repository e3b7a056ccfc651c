"""Evaluations: one file a question, Representations to Scores."""
