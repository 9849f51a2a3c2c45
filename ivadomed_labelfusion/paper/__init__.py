"""Lemay et al. 2022 and nothing else: its tables, figures, findings and printed numbers, from a study's results."""
