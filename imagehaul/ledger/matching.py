"""Which image each statement of an annotation file is about, and which split each image belongs to."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.references import resolve_references
from imagehaul.ledger.spelling import EXACT, GUESSED, WORDS
from imagehaul.text import counted, printable

EXAMPLES = 3
_SAID = "kind IN ('box', 'label', 'caption', 'metadata')"
"""What is said of an image, and not of where it belongs: a list of a whole data set names absent images too."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Counts of statements, but for `images`: those that at least one is about.

    `unknown`: no image of the delivery has that name; `ambiguous`: several have. With examples, as reference and
    origin. `unusable`: boxes with no area or with coordinates that are not finite numbers, which no export can show;
    `unusable_example`: where one stands.
    `respelled`: (way, references, an example) for each way of writing that was understood; `guessed`: references that
    were understood by their base name alone, and an example. `torn`: images that two splits claim, and an example.
    `outspoken`: images of which several rows of metadata say different things, and an example.
    """

    statements: int
    boxes: int
    images: int
    unknown: int
    ambiguous: int
    examples: tuple[str, ...]
    unusable: int = 0
    respelled: tuple[tuple[int, int, str], ...] = ()
    guessed: tuple[int, str] = (0, "")
    torn: tuple[int, str] = (0, "")
    outspoken: tuple[int, str] = (0, "")
    unusable_example: str = ""

    def warnings(self) -> Iterator[str]:
        """A line for each thing that a person should know."""
        if self.unknown or self.ambiguous:
            kinds = (
                (self.unknown, "of images that are not in this delivery"),
                (self.ambiguous, "that fit several images"),
            )
            said = " and ".join(f"{counted(count, 'annotation')} {which}" for count, which in kinds if count)
            yield f"Left out: {said}. For example {'; '.join(self.examples)}."
        if self.unusable:
            yield (
                f"{counted(self.unusable, 'box', 'boxes')} without an area, or with coordinates that are not numbers: "
                f"in no index and no export, such as {self.unusable_example}."
            )
        if self.respelled:
            ways = ", ".join(f"{count:,} {WORDS[how]}" for how, count, _ in self.respelled)
            total = sum(count for _, count, _ in self.respelled)
            yield (
                f"{counted(total, 'name')} in the annotations written otherwise than in the source ({ways}), "
                f"such as {self.respelled[0][2]}."
            )
        count, example = self.guessed
        if count:
            yield (
                f"{counted(count, 'label file')} whose path is that of no image: taken for the only image of that "
                f"name, such as {example}."
            )
        count, example = self.torn
        if count:
            yield f"{counted(count, 'image')} in several splits, of which the first said counts, such as {example}."
        count, example = self.outspoken
        if count:
            yield f"{counted(count, 'image')} with several rows of metadata: the first counts, such as {example}."


def match_annotations(catalog: Catalog, roots: Sequence[str] = (), any_case: bool = False) -> Matches:
    """Fills `annotation` (`path` is the image's) and `image_split`, and says what found no image.

    `roots`, `any_case`: see `resolve_references`.
    """
    statements, *_ = catalog.one("SELECT count(*) FROM statement")
    if not statements:
        for table in ("reference", "resolved", "annotation", "image_split"):
            catalog.clear(table)
        return Matches(statements=0, boxes=0, images=0, unknown=0, ambiguous=0, examples=())
    resolve_references(catalog, roots, any_case)
    catalog.fill(
        "resolved",
        """
        SELECT s.*, r.path, coalesce(r.images, 0) AS images, coalesce(r.how, 0) AS how,
               kind <> 'box' OR width > 0 AND height > 0
                   AND greatest(abs(x), abs(y), width, height) < 9007199254740992 AS usable
        FROM statement s LEFT JOIN reference r USING (match, reference, place)
        """,
    )
    catalog.fill("annotation", f"SELECT * FROM resolved WHERE images = 1 AND {_SAID}")
    _find_splits(catalog)
    return _matches(catalog)


def _matches(catalog: Catalog) -> Matches:
    statements, boxes, images, unknown, ambiguous = catalog.one(
        f"""
        SELECT count(*), count(*) FILTER (kind = 'box'), count(DISTINCT path) FILTER (images = 1),
               count(*) FILTER (images = 0), count(*) FILTER (images > 1)
        FROM resolved WHERE {_SAID}
        """
    )
    unusable, unusable_example = _counted(
        catalog,
        "SELECT count(*), coalesce(arg_min(origin || ' (' || reference || ')', ordinal), '') FROM resolved "
        "WHERE NOT usable",
    )
    ways = list(
        catalog.rows(
            "SELECT how, count(*), min(reference || ' → ' || path) FROM reference "
            f"WHERE images = 1 AND how <> {EXACT} GROUP BY how ORDER BY how"
        )
    )
    return Matches(
        statements,
        boxes,
        images,
        unknown,
        ambiguous,
        tuple(_examples(catalog)),
        unusable,
        tuple((how, count, printable(example)) for how, count, example in ways if how != GUESSED),
        next(((count, printable(example)) for how, count, example in ways if how == GUESSED), (0, "")),
        _counted(catalog, "SELECT count(*), coalesce(min(path), '') FROM image_split WHERE splits > 1"),
        _counted(
            catalog,
            "SELECT count(*), coalesce(min(path), '') FROM (SELECT path FROM annotation WHERE kind = 'metadata' "
            "GROUP BY path HAVING count(DISTINCT metadata) > 1)",
        ),
        unusable_example,
    )


def _counted(catalog: Catalog, query: str) -> tuple[int, str]:
    count, example = catalog.one(query)
    return int(count), printable(example)


def _examples(catalog: Catalog) -> Iterator[str]:
    several = {True: "several images have that name", False: "its image is not in this delivery"}
    for reference, origin, images in catalog.rows(
        f"SELECT reference, min(origin), min(images) FROM resolved WHERE images <> 1 AND {_SAID} "
        f"GROUP BY reference ORDER BY min(ordinal) LIMIT {EXAMPLES}"
    ):
        yield f"{reference!r} ({origin}): {several[images > 1]}"


def _find_splits(catalog: Catalog) -> None:
    """What is said of an image goes before what is said of its folder; of two words the first counts."""
    catalog.fill(
        "image_split",
        "SELECT path, arg_min(text, ordinal) AS split, count(DISTINCT text) AS splits FROM resolved "
        "WHERE kind = 'split' AND images = 1 GROUP BY path",
    )
    folders = catalog.rows(
        "SELECT s.reference, p.folder, s.text FROM statement s JOIN place p USING (place) "
        "WHERE s.kind = 'split' AND s.match = 'folder' ORDER BY s.ordinal, p.rank"
    )
    for reference, above, split in list(folders):
        folder = posixpath.normpath(posixpath.join(above, reference))
        catalog.append(
            "image_split",
            "SELECT path, $split AS split, 1 AS splits FROM source WHERE starts_with(path, $folder) "
            "AND NOT EXISTS (SELECT 1 FROM image_split said WHERE said.path = source.path)",
            {"split": split, "folder": "" if folder == "." else f"{folder}/"},
        )
