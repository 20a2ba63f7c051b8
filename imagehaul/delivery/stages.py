"""The stages of a run, by name: each is timed, and shown to whoever looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Stage:
    """`key`: its name in the report's timings. `name` and `description`: for a person."""

    key: str
    name: str
    description: str


CHECK = Stage("check", "Check and lock", "Whether store, keys and buckets are as they should be; takes the data set.")
INVENTORY = Stage("inventory", "Inventory", "What the source holds, what the store holds, what earlier runs left.")
ANNOTATIONS = Stage("annotations", "Annotations", "Boxes, labels and captions, and the images that they are about.")
PLAN = Stage("plan", "Plan", "What is new, changed, missing or unchanged, cut into batches.")
BATCHES = Stage("work", "Batches", "Images are read, thumbnails and crops are made, and all is sent.")
PROOF = Stage("proof", "Proof", "What the store itself lists now, compared with what was sent.")
PUBLICATION = Stage("publish", "Publication", "Ledger, exports and report; the pointer for readers comes last.")


class RunStage(Protocol):
    """Runs one stage. `found`: what it found, in a few words, from what the work gave."""

    def __call__(self, stage: Stage, work: Callable[[], Made], found: Callable[[Made], str]) -> Made: ...


def plainly(stage: Stage, work: Callable[[], Made], found: Callable[[Made], str]) -> Made:
    """In the caller, and nothing besides."""
    return work()


@dataclass(frozen=True)
class Stages:
    """Runs the stages of one run one after the other. `seconds`: how long each took, by its key."""

    run_stage: RunStage = plainly
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, stage: Stage, work: Callable[[], Made], found: Callable[[Made], str]) -> Made:
        began = time.monotonic()
        try:
            return self.run_stage(stage, work, found)
        finally:
            self.seconds[stage.key] = round(time.monotonic() - began, 3)
