"""`imagehaul deliver` as a flow run in its own process. The store stays here: no parameter of the run holds a key.

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
}.items():
    os.environ.setdefault(_name, _value)


def deliver_here(request: Request, settings: Settings, store: Store, progress: Progress) -> Summary:
    """Raises `HaulError`: as the chain does, or where the Prefect API does not answer."""
    from prefect import flow
    from prefect.client.schemas.objects import State
    from prefect.exceptions import TerminationSignal

    from imagehaul.flows.deliver import outcome_of, run_in_flow
    from imagehaul.flows.flow_progress import Both, FlowProgress
    from imagehaul.flows.parameters import form_of
    from imagehaul.flows.prefect_server import reach_api

    ended: list[Summary | HaulError] = []

    @flow(name="deliver", flow_run_name="deliver {dataset}", validate_parameters=False)
    def deliver(dataset: str, source: str, settings: dict[str, Any], request: dict[str, Any]) -> State[Any]:
        def delivery() -> Summary:
            try:
                summary = run_in_flow(asked, resolved, store, Both(progress, FlowProgress(dataset)))
            except HaulError as error:
                ended.append(error)
                raise
            ended.append(summary)
            return summary

        return outcome_of(delivery)

    asked, resolved = request, settings
    began = time.monotonic()
    reach_api()
    leave_out(time.monotonic() - began)
    try:
        deliver(request.dataset, request.source, form_of(settings), asdict(request), return_state=True)
    except TerminationSignal:
        raise KeyboardInterrupt from None
    if not ended:
        raise HaulError("The flow run ended before the delivery began. Its state in the Prefect UI says why.")
    if isinstance(ended[0], HaulError):
        raise ended[0]
    return ended[0]
