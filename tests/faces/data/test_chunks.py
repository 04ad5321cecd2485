"""Groups of images bounded by pixels, and the budget that threads share."""

import threading
import time

from faces.data import chunks as chunks_module
from faces.data.chunks import Budget, chunks


def test_a_group_ends_by_number_or_by_pixels_and_asks_for_no_more(monkeypatch):
    monkeypatch.setattr(chunks_module, "PIXELS", 100)
    asked: list[int] = []

    def images():
        for pixels in (10, 20, 30, 500, 99, 1, 40, 50):
            asked.append(pixels)
            yield pixels

    groups = chunks(images(), lambda pixels: pixels, most=3)
    assert next(groups) == [10, 20, 30] and asked == [10, 20, 30]
    assert list(groups) == [[500], [99, 1], [40, 50]]


def test_threads_share_the_budget_and_one_that_exceeds_it_is_alone():
    budget, held, most = Budget(100), [], []

    def work(pixels: int) -> None:
        with budget.of(pixels):
            held.append(pixels)
            most.append(sum(held) if len(held) > 1 else 0)
            time.sleep(0.002)
            held.remove(pixels)

    threads = [threading.Thread(target=work, args=(pixels,)) for pixels in (60, 50, 300, 40, 10, 90, 300, 5) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(most) == 24 and max(most) <= 100
