"""Where batches run: what every place offers. The choice of it is in `registry`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from imagehaul.errors import HaulError, SettingsError
from imagehaul.store.endpoint import Store
from imagehaul.store.reference import StoreReference

if TYPE_CHECKING:
    from imagehaul.delivery.jobs import BatchContext, BatchJob, BatchResult

ATTEMPTS = 3
"""A worker that dies costs its batch another try elsewhere; then its images are `failed`, and the run goes on."""
LOCAL = "local"
"""The address of a cluster that the run starts for itself."""
STOP_SECONDS = 15.0
"""How long batches elsewhere may take to see that they are to stop."""


class WorkerLostError(Exception):
    """The process that worked on a batch has gone, and nobody knows how far it was. Its last words."""


class Runner(Protocol):
    """Runs batches somewhere. `slots`: how many at the same time. `name`: the runner of the JSON line."""

    name: str
    slots: int

    def run(self, job: BatchJob) -> BatchResult:
        """Blocks until the batch is done; threads call it side by side.

        Raises HaulError: the batch cannot be worked on, or was stopped; WorkerLostError after the last attempt.
        """
        ...

    def stop(self) -> None:
        """Nothing more is sent, and batches at work end soon with what they have."""
        ...

    def close(self) -> bool:
        """Ends all that is at work, and gives back what it took. False: a batch may still be at work somewhere."""
        ...


def reference_of(store: Store) -> StoreReference:
    """What other machines make the store from.

    Raises SettingsError where the store's keys are known to this process alone.
    """
    if store.reference is None:
        raise SettingsError(
            "The store's keys were given to this run alone, and other machines cannot have them.\n"
            "Save the store as a block, and choose that; or leave the keys to each worker's own environment."
        )
    return store.reference


def for_other_machines(context: BatchContext, store: Store, transfer_workers: int, renderers: int) -> BatchContext:
    """What batches share where each worker makes the store anew, and has a folder of its own for temporary files."""
    reference = reference_of(store)
    return replace(
        context,
        store=reference,
        transfer_workers=transfer_workers,
        renderers=renderers,
        scratch="",
        obstore=replace(context.obstore, address=None),
    )


def refuse_unfit(place: str, said: dict[str, str]) -> None:
    """`said`: by worker, why it cannot work, "" = it can. Raises HaulError with one line for each reason."""
    workers = {reason: worker for worker, reason in said.items() if reason}
    if workers:
        lines = [f"{worker}: {reason}" for reason, worker in workers.items()]
        count = sum(1 for reason in said.values() if reason)
        raise HaulError(f"{count} of {len(said)} workers of {place} cannot work on this run.\n" + "\n".join(lines))
