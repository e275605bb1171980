"""What readers mend in annotations or take for granted: counted by kind, and said once."""

from __future__ import annotations

import dataclasses

from detection.annotations.dataset import Note
from detection.annotations.text import counted, plain

KINDS = {
    "clipped": ("box", "boxes", "reached beyond the picture by up to {most:.3g} px: clipped"),
    "ordered": ("box", "boxes", "had corners in the wrong order: put in order"),
    "no size": ("picture", "pictures", "without a stated size: the picture's own is taken"),
    "exchanged": (
        "picture",
        "pictures",
        "with width and height exchanged in the annotations: the picture's own are taken",
    ),
    "scaled": (
        "picture",
        "pictures",
        "of another size than the annotations say, by a pixel or a common factor: boxes scaled",
    ),
    "not scaled": (
        "picture",
        "pictures",
        "of another size than the annotations say, with boxes that fit the picture alone: taken "
        "as they are",
    ),
    "repeated": ("object", "objects", "twice under one id: taken once"),
    "without page": (
        "picture",
        "pictures",
        "that a list names without an XML file: taken as without objects",
    ),
    "listed alone": ("name", "names", "in a list with neither an XML file nor a picture"),
    "unlisted": (
        "picture",
        "pictures",
        "with neither an XML file nor a place in a list: passed over",
    ),
    "link": ("folder", "folders", "passed over, as links"),
    "outline": ("object", "objects", "without a box: the box around the outline is taken"),
}
"""Of what is counted: the noun for one and for many, and what was done."""


@dataclasses.dataclass
class _Count:
    number: int
    most: float
    first: str


class Notes:
    """Counts what is mended, by kind.

    Args:
        data: the data set's name.
    """

    def __init__(self, data: str):
        self.data = data
        self.counts: dict[str, _Count] = {}
        self.lines: list[str] = []

    def count(self, kind: str, where: str, amount: float = 0.0) -> None:
        """Counts one more of a kind.

        Args:
            kind: one of `KINDS`.
            where: the file or object.
            amount: of which the largest is said, where the kind says it.
        """
        seen = self.counts.setdefault(kind, _Count(0, amount, where))
        seen.number += 1
        seen.most = max(seen.most, amount)

    def say(self, line: str) -> None:
        """Adds a line of its own; the same line is said once."""
        if line not in self.lines:
            self.lines.append(line)

    def all(self) -> tuple[Note, ...]:
        """Returns a note for each line and each kind."""
        lines = list(self.lines)
        for kind, seen in self.counts.items():
            one, many, done = KINDS[kind]
            first = "" if seen.number == 1 else "the first "
            lines.append(
                f"{counted(seen.number, one, many)} {done.format(most=seen.most)} "
                f"({first}{plain(seen.first, 300)})"
            )
        return tuple(Note(plain(self.data, 300), line) for line in lines)
