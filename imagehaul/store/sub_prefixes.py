"""A long listing by sub-prefix: where to cut it, and the pages of its parts as they come, side by side.

A page names the place where the next begins, so that one listing cannot be faster than page by page. It is cut at
folders, whose names cost little to ask for. Nothing is taken for granted about the order of keys, since not every store
keeps to it: SeaweedFS has `a/x` before `a b/x`.
"""

from __future__ import annotations

import heapq
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Full, Queue
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ObjectTypeDef

    Pages: TypeAlias = "Callable[..., Iterator[ListObjectsV2OutputTypeDef]]"
    """Lists with these of boto3's arguments: at least `Prefix`."""

Page = TypeVar("Page")
SIDE_BY_SIDE = 8
PARTS = 4 * SIDE_BY_SIDE
"""Some are longer than others, and each has a last page that is not full."""
_ENOUGH = SIDE_BY_SIDE
_MOST_PAGES = 32
_DEEPEST = 8


@dataclass(frozen=True)
class Parts:
    """`prefixes`: what lies below them is all of it, but for `files`, which may lie below one of them, too."""

    prefixes: Sequence[str]
    files: Sequence[ObjectTypeDef]


def cut(prefix: str, pages: Pages) -> Parts:
    """At the folders of as few levels as make enough parts. A folder whose first page holds files alone stays whole."""
    files: list[ObjectTypeDef] = []
    whole: list[str] = []
    level = [[prefix]]
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="listing") as threads:
        for _ in range(_DEEPEST):
            folders = [folder for siblings in level for folder in siblings]
            looks = list(threads.map(lambda folder: _look_into(folder, pages), folders))
            whole += (folder for folder, look in zip(folders, looks, strict=True) if not look)
            files += (item for look in looks if look for item in look.files)
            level = [look.folders for look in looks if look and look.folders]
            count = sum(map(len, level))
            if not level or count + len(whole) >= _ENOUGH:
                break
    grouped = [
        group for siblings in level for group in grouped_by_beginning(siblings, max(1, PARTS * len(siblings) // count))
    ]
    return Parts([*whole, *grouped], files)


@dataclass(frozen=True)
class _Look:
    """What lies right in a folder, all of it."""

    folders: list[str]
    files: list[ObjectTypeDef]


def _look_into(folder: str, pages: Pages) -> _Look | None:
    """None where it has more than is worth walking through."""
    look = _Look([], [])
    for number, page in enumerate(pages(Prefix=folder, Delimiter="/"), 1):
        look.folders.extend(entry["Prefix"] for entry in page.get("CommonPrefixes", ()))
        look.files.extend(page.get("Contents", ()))
        if not page.get("IsTruncated"):
            return look
        if not look.folders or number == _MOST_PAGES:
            break
    return None


def grouped_by_beginning(folders: Sequence[str], most: int) -> list[str]:
    """Prefixes that each begin the names of some of the folders, and none two of them the same one's.

    The largest group is divided by the next character of its names, while there are fewer than `most`: then there are
    at most twice as many.
    """
    groups = [_Group.of(folders)]
    undivided: list[_Group] = []
    while groups and len(groups) + len(undivided) < most:
        largest = heapq.heappop(groups)
        smaller = largest.divided()
        if len(smaller) > 1 and len(groups) + len(undivided) + len(smaller) <= 2 * most:
            for group in smaller:
                heapq.heappush(groups, group)
        else:
            undivided.append(largest)
    return sorted(group.beginning for group in (*groups, *undivided))


@dataclass(frozen=True, order=True)
class _Group:
    """The largest comes first."""

    rank: int
    beginning: str
    names: Sequence[str] = field(compare=False)

    @classmethod
    def of(cls, names: Sequence[str]) -> _Group:
        beginning = os.path.commonprefix([min(names), max(names)])  # noqa: RUF071 - by the character is what is wanted
        return cls(-len(names), beginning, names)

    def divided(self) -> list[_Group]:
        by_next: dict[str, list[str]] = {}
        for name in self.names:
            by_next.setdefault(name[: len(self.beginning) + 1], []).append(name)
        return [_Group.of(names) for names in by_next.values()]


def list_side_by_side(prefixes: Sequence[str], pages: Pages) -> Iterator[list[ObjectTypeDef]]:
    """All that lies below them, a page's objects at a time, as they come. Raises what `pages` raises."""

    def contents_of(prefix: str) -> Iterator[list[ObjectTypeDef]]:
        return (page.get("Contents", []) for page in pages(Prefix=prefix))

    return as_they_come([partial(contents_of, prefix) for prefix in prefixes])


def as_they_come(listings: Sequence[Callable[[], Iterator[Page]]]) -> Iterator[Page]:
    """The pages of several listings, `SIDE_BY_SIDE` of them at a time. Raises what any of them raises."""
    read: Queue[Page | Exception | None] = Queue(2 * SIDE_BY_SIDE)
    over = threading.Event()

    def hand_on(what: Page | Exception | None) -> None:
        while not over.is_set():
            with suppress(Full):
                read.put(what, timeout=0.2)
                return

    def list_one(listing: Callable[[], Iterator[Page]]) -> None:
        try:
            for page in listing():
                hand_on(page)
                if over.is_set():
                    return
        except Exception as error:
            hand_on(error)
        else:
            hand_on(None)

    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="listing") as threads:
        try:
            for listing in listings:
                threads.submit(list_one, listing)
            at_work = len(listings)
            while at_work:
                said = read.get()
                if isinstance(said, Exception):
                    raise said
                if said is None:
                    at_work -= 1
                else:
                    yield said
        finally:
            over.set()
            threads.shutdown(cancel_futures=True)
