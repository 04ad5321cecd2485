"""Names of people that are the same, near, or neither."""

import pytest

from faces.data.person_names import Alike, alike_names, are_numbers, words_of


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Colin_Powell", ("colin", "powell")),
        ("José  LÓPEZ-Ruiz", ("jose", "lopez", "ruiz")),
        ("Jose\u0301", ("jose",)),
        ("Søren O'Brien", ("soren", "obrien")),
        ("Weiß", ("weiss",)),
        ("\uff21\uff4c\uff22a", ("alba",)),
        ("n000012", ("n000012",)),
        ("12_7", ()),
        ("", ()),
        ("王菲", ("王菲",)),
    ],
)
def test_words(name: str, words: tuple[str, ...]):
    assert words_of(name) == words


@pytest.mark.parametrize(
    ("one", "other", "likeness"),
    [
        ("Colin_Powell", "colin powell", "same"),
        ("Penélope_Cruz", "Penelope-Cruz", "same"),
        ("Powell, Colin", "Colin_Powell", "near"),
        ("George_W_Bush", "George Bush", "near"),
        ("Anna_Maria_Lopez", "Lopez Anna", "near"),
        ("Arnold_Schwarzeneger", "Arnold_Schwarzenegger", "near"),
        ("Colin_Powel", "Colin_Powell", "near"),
        ("Colin_Powlel", "Colin_Powell", "near"),
        ("Kolin_Powell", "Colin_Powell", "near"),
        ("Kolin_Powel", "Colin_Powell", None),
        ("Colin", "Colin_Powell", None),
        ("Ann_Li", "Anu_Li", None),
        ("Abc_Def", "Bca_Def", None),
        ("n000012", "n000013", None),
        ("n000012", "N000012", "same"),
        ("12", "12", None),
        ("王菲", "王菲", "same"),
    ],
)
def test_likeness(one: str, other: str, likeness: str | None):
    for names in (([one], [other]), ([other], [one])):
        assert [alike.likeness for alike in alike_names(*names)] == ([likeness] if likeness else [])


def test_each_pair_once_in_the_order_of_the_lists():
    found = alike_names(["x_y", "Jo_Ann_Smith", "Ann_Jo_Smith"], ["jo ann smith", "Jo_Smith", "x_y", "X Y"])
    assert found == [
        Alike(0, 2, "same"),
        Alike(0, 3, "same"),
        Alike(1, 0, "same"),
        Alike(1, 1, "near"),
        Alike(2, 0, "near"),
        Alike(2, 1, "near"),
    ]
    assert alike_names([], ["x"]) == alike_names(["x"], []) == []


@pytest.mark.parametrize(
    ("names", "numbered"),
    [
        (["0", "1", "17"], True),
        (["person_1", "person_22"], True),
        (["n000002"], True),
        (["Ann", "Bob"], False),
        (["Ann"], False),
        (["Ann 1", "Bob 1"], False),
        ([], False),
    ],
)
def test_numbered(names: list[str], numbered: bool):
    assert are_numbers(names) == numbered
