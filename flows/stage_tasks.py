"""The stages of a run as task runs of Prefect: what a person sees in the graph of the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from imagehaul.delivery.stages import Stage
from imagehaul.errors import HaulError
from imagehaul.flows.final_state import in_words_of_the_form

Made = TypeVar("Made")


def as_task(stage: Stage, work: Callable[[], Made], found: Callable[[Made], str]) -> Made:
    """Does the work in a task run of the stage's name, whose state says what was found: "36 images, 36 new".

    Each run does each stage anew, also where it is a retry, and whatever the server's profile says of results and
    retries: a stage that is taken from a cache would be a lie. Raises what the work raises.
    """
    results: list[Made] = []
    errors: list[HaulError] = []

    @task(
        name=stage.name,
        task_run_name=stage.name,
        description=stage.description,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=0,
        log_prints=False,
    )
    def run_stage() -> State[Any]:
        try:
            results.append(work())
        except HaulError as error:
            errors.append(error)
            return Failed(message=in_words_of_the_form(str(error)))
        return Completed(message=found(results[0]))

    state = run_stage(return_state=True)
    if errors:
        raise errors[0]
    if not results:
        # Another error than one of ours: a bug, whose traceback the task run has.
        state.result()
    return results[0]
