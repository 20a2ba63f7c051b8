"""A person looks at the plan in the Prefect UI, and says whether it is carried out."""

from __future__ import annotations

from typing import Literal

from httpx import HTTPError
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from imagehaul.delivery.summary import Summary
from imagehaul.errors import HaulError
from imagehaul.flows.artifacts import publish_plan, summary_markdown
from imagehaul.flows.prefect_server import is_away
from imagehaul.flows.waiting import may_leave

HOURS = 24


class Answer(RunInput):
    """What the form asks that opens with Resume."""

    decision: Literal["deliver", "stop"] = Field(
        default="deliver", title="Decision", description="deliver: the plan is carried out. stop: nothing is sent."
    )


def approve_in_ui(plan: Summary) -> bool:
    """Waits until somebody resumes the flow run; `HOURS` at most.

    A run of a deployment is suspended: it holds no slot and no lock, and begins anew when it is resumed. The answer
    belongs to this very plan: where the source or the store has changed meanwhile, the new plan is shown and asked for.
    A run that Prefect cannot suspend waits in its process, and `HaulError` is raised when nobody has answered.
    """
    try:
        return _answer(plan).decision == "deliver"
    except FlowPauseTimeout:
        raise HaulError(
            f"Nobody accepted the plan within {HOURS} hours, and nothing was sent. Run again, and press Resume in the "
            "Prefect UI."
        ) from None
    except (HTTPError, RuntimeError) as error:
        if not is_away(error):
            raise
        raise HaulError(
            f"Prefect's API does not answer ({type(error).__name__}), so that nobody could be asked, and nothing was "
            "sent. Run again."
        ) from error


def _answer(plan: Summary) -> Answer:
    publish_plan(plan)
    asked = Answer.with_initial_data(description=summary_markdown(plan), decision="deliver")
    if may_leave():
        return suspend_flow_run(wait_for_input=asked, timeout=HOURS * 3600, key=plan.plan)
    return pause_flow_run(wait_for_input=asked, timeout=HOURS * 3600, poll_interval=2)
