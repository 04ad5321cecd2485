"""One script for each claim of speed, beside a peer: `python -m benchmarks.NAME`. Both get the same huge pages."""

from faces import start

start.take_huge_pages()
