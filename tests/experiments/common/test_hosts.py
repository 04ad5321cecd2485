"""Shares of several processes."""

from experiments.common.hosts import Hosts


def test_every_photograph_is_in_one_share_and_shares_are_equal_but_for_one():
    for count in (0, 1, 2, 7, 40):
        for processes in (1, 2, 3, 8):
            shares = [Hosts(process, processes).share(count) for process in range(processes)]
            assert [row for share in shares for row in share] == list(range(count))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
