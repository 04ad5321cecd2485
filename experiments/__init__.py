"""Thin mains: `python -m experiments.NAME`. What they do is done elsewhere; here it is put together and reported."""
