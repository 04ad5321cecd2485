"""Thin mains: `python -m experiments.NAME`. What they do is done elsewhere; here it is put together and reported."""

from faces import start, stopping

stopping.quit_while_importing()
start.take_huge_pages()
start.draw_to_files()
