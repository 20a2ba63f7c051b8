"""A file or folder of annotations as it is read: the stream, what it held, and what was wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from imagehaul.annotations.format import Items
from imagehaul.records import Annotation
from imagehaul.text import printable

EXAMPLES = 3
_PLURALS = {"box": "boxes", "label": "labels", "caption": "captions"}


@dataclass(slots=True)
class ProblemCount:
    """How often a problem was met, whether what was said is used in spite of it, and the first places."""

    count: int = 0
    used: bool = False
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Reading:
    """The annotations of one file or folder, to be iterated once; the counts are whole when that is done.

    `problems` by their reason; `said`: what is to be said besides. Iterating raises AnnotationError where the file is
    broken further on.
    """

    format: str
    shown: str
    items: Items = field(repr=False)
    counts: Counter[str] = field(default_factory=Counter)
    problems: dict[str, ProblemCount] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Annotation]:
        for item in self.items:
            if isinstance(item, Annotation):
                self.counts[item.kind] += 1
                yield item
            else:
                problem = self.problems.setdefault(item.reason, ProblemCount(used=item.used))
                problem.count += 1
                if len(problem.examples) < EXAMPLES:
                    problem.examples.append(printable(item.where))

    def summary(self) -> str:
        """`boxes.csv (object table): 3 boxes, 1 label`."""
        counted = [
            f"{count:,} {kind if count == 1 else _PLURALS[kind]}" for kind in _PLURALS if (count := self.counts[kind])
        ]
        return f"{self.shown} ({self.format}): {', '.join(counted) or 'nothing'}"

    def warnings(self) -> list[str]:
        """A line for each sort of problem: how often, and where for example."""
        return self.said + [
            f"{reason} ({problem.count:,} times, e.g. {problem.examples[0]})"
            if problem.count > 1
            else f"{reason} ({problem.examples[0]})"
            for reason, problem in self.problems.items()
        ]
