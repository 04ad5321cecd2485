"""What a command has passed over or may have misread, on the screen: nothing is left out without a word.

Not here: why something is passed over (`faces.data.photographs`, `faces.data.image_folder`).
"""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console

from faces.data.named_files import alike
from faces.evaluate.verification import few_names


def tell(console: Console, passed_over: Mapping[str, str], what: str = "passed over") -> None:
    """Print how many paths were passed over, and for each reason the first of them; nothing where there are none."""
    if not passed_over:
        return
    console.print(f"{what}: {len(passed_over):,}")
    for reason, names in by_reason(passed_over).items():
        console.print(f"  {reason}: {few_names(names)}")


def tell_alike(console: Console, people: Iterable[str], what: str) -> None:
    """Print which people have names that a person would take for one, and `what` becomes of them."""
    for names in alike(people):
        console.print(
            f"  {' and '.join(map(repr, names))} differ only in case or in how Unicode spells them, and {what}; move "
            "one's pictures to the other's folder if they are the same"
        )


def by_reason(passed_over: Mapping[str, str]) -> dict[str, Sequence[str]]:
    """The names of each reason, the most frequent reason first."""
    groups: dict[str, list[str]] = {}
    for name, reason in passed_over.items():
        groups.setdefault(reason, []).append(name)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))
