"""Pickles read without running them: the arrays and strings in them, and a refusal of everything else."""
