"""The chain, read from top to bottom: inventory → plan → batches, side by side → proof → ledger, export, pointer.

It is written once. The command line runs it in its own process, and `flows/deliver.py` runs it as a Prefect flow;
they differ in how batches are run and where progress is shown.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from imagehaul.delivery.batch_threads import RunBatches
from imagehaul.delivery.publish import publish
from imagehaul.delivery.stages import Delivery
from imagehaul.delivery.summary import Summary
from imagehaul.errors import HaulError
from imagehaul.layout import new_run_name
from imagehaul.ledger.lease import lease
from imagehaul.progress import Progress
from imagehaul.records import Request
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import explain
from imagehaul.text import legible


def deliver(
    request: Request,
    settings: Settings,
    store: Store,
    run_batches: RunBatches,
    progress: Progress,
    approve: Callable[[Summary], bool] | None = None,
) -> Summary:
    """One delivery of one data set. Raises `HaulError` where it cannot begin.

    `approve` is shown the plan, and says whether it is carried out.
    """
    with ExitStack() as stack, in_words("deliver", settings, store):
        folder = tempfile.TemporaryDirectory(prefix="imagehaul-", dir=settings.scratch or None)
        scratch = Path(stack.enter_context(folder))
        delivery = Delivery(request, settings, store, progress, new_run_name(), scratch, stack)
        delivery.check_store()
        if not request.dry_run:
            delivery.lease = stack.enter_context(
                lease(
                    delivery.client,
                    delivery.layout,
                    delivery.capabilities,
                    delivery.run,
                    request.when_locked,
                    progress.say,
                )
            )
            delivery.clean_up()
        delivery.take_inventory()
        plan = delivery.make_plan()
        if request.dry_run or (approve and plan.work and not approve(delivery.preview(plan))):
            return delivery.preview(plan)
        delivery.work_through(plan, run_batches)
        counts = delivery.prove()
        return publish(delivery, plan, counts)


@contextmanager
def in_words(doing: str, settings: Settings, store: Store) -> Iterator[None]:
    """What the store or the scratch disk did, as a sentence. What was sent by then stays, and a rerun finds it.

    `doing`: "deliver" or "verify".
    """
    try:
        yield
    except HaulError:
        raise
    except Exception as error:
        import duckdb

        try:
            if isinstance(error, OSError) and error.filename:
                raise  # A file of this machine's; s3fs names none.
            raise explain(error, doing, store.url) from error
        except (OSError, duckdb.OperationalError):
            # No error of the store's, so it is the disk's.
            folder = settings.scratch or tempfile.gettempdir()
            raise HaulError(
                f"The run had to stop: {legible(str(error).splitlines()[0])}.\n"
                f"Temporary files lie in {folder}: free room there, or name another folder with SCRATCH. Run again."
            ) from error
