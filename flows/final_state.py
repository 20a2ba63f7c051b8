"""How a flow run ends: the state tells the truth in our own words, and the last error line of the log is the reason."""

from __future__ import annotations

import logging
import re
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from imagehaul.errors import HaulError
from imagehaul.settings import Settings


def completed(headline: str, result: Any = None) -> State[Any]:
    return Completed(message=headline, data=result)


def failed(error: HaulError) -> State[Any]:
    """A caller of the flow, in Python or as a subflow, gets the error itself; everybody else reads its sentence."""
    message = in_words_of_the_form(str(error))
    get_run_logger().error("%s", message)
    logging.getLogger("prefect.flow_runs").addFilter(_without_what_is_said)
    return Failed(message=message, data=error)


def in_words_of_the_form(message: str) -> str:
    """A message may advise an option of the command line: `--allow-loss` is the parameter allow_loss of a flow."""

    def renamed(option: re.Match[str]) -> str:
        name = option[1].replace("-", "_")
        return name.upper() if name in Settings.model_fields else name

    return re.sub(r"(?<![\w-])--([a-z][a-z0-9-]+)", renamed, message)


def _without_what_is_said(record: logging.LogRecord) -> bool:
    """Where a flow ends as Failed, Prefect's engine logs a traceback of its own code and no reason.

    "Engine execution exited with unexpected exception", prefect/flow_engine.py, run_flow.
    """
    error = record.exc_info and record.exc_info[1]
    return not isinstance(error, HaulError)
