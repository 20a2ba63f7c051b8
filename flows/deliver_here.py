"""`imagehaul deliver` calls the flow in its own process. The store stays here: no parameter of the run holds a key.

Prefect reads its environment when it is imported, so what it should know is set here, before.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import Any

from imagehaul.clock import leave_out
from imagehaul.delivery.summary import Summary
from imagehaul.errors import HaulError
from imagehaul.progress import Progress
from imagehaul.records import Request
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store

for _name, _value in {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # The terminal has our own lines; Prefect's go to the run's log alone.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",
}.items():
    os.environ.setdefault(_name, _value)


def deliver_here(request: Request, settings: Settings, store: Store, progress: Progress) -> Summary:
    """Raises `HaulError`: as the chain does, or where the Prefect API does not answer before the delivery has ended."""
    from httpx import HTTPError
    from prefect.client.schemas.objects import State
    from prefect.exceptions import CancelledRun, CrashedRun, FailedRun, TerminationSignal

    from imagehaul.blocks import ObjectStore
    from imagehaul.flows.deliver import DeliveryError, deliver, keeping_summaries
    from imagehaul.flows.flow_progress import also_shown_on
    from imagehaul.flows.parameters import form_of
    from imagehaul.flows.prefect_server import is_away, reach_api

    began = time.monotonic()
    reach_api()
    leave_out(time.monotonic() - began)
    # The block shows neither key nor CA, so that the parameters of the run hold none.
    asked = {name: value for name, value in asdict(request).items() if name in deliver.parameters.properties}
    with also_shown_on(progress), keeping_summaries() as kept:
        try:
            state: State[Any] = deliver(
                **asked, store=ObjectStore.of(store), settings=form_of(settings), return_state=True
            )
            summary: Summary = state.result()
            return summary
        except DeliveryError as error:
            return error.summary
        except TerminationSignal:
            raise KeyboardInterrupt from None
        except (CancelledRun, CrashedRun, FailedRun) as error:
            raise HaulError(f"The flow run ended before the delivery did: {error}") from None
        except (HTTPError, RuntimeError) as error:
            if not is_away(error):
                raise
            if not kept:
                raise HaulError(
                    f"Prefect's API went away ({type(error).__name__}) before the delivery had ended. Run again when "
                    "it answers, or with --no-prefect: what is in the store is not sent twice."
                ) from error
            progress.warn(f"Prefect's API is away ({type(error).__name__}), and does not know that this run has ended.")
            return kept[0]
