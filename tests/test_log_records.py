"""What is logged in a process that works is logged by the one that leads, as it reads."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys

import pytest

from imagehaul.log_records import hand_on

_CHILD = """
import logging, pickle, sys
from imagehaul.log_records import forwarded
logger = logging.getLogger("imagehaul")
logger.addHandler(forwarded(lambda record: pickle.dump(record, sys.stdout.buffer)))
logging.getLogger("imagehaul.transfer").warning("%d of %s", 3, "100 %s, and no more")
"""


def test_a_record_keeps_its_logger_its_level_and_its_words(caplog: pytest.LogCaptureFixture) -> None:
    done = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, check=True)
    assert not done.stderr
    hand_on(pickle.loads(done.stdout))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("imagehaul.transfer", logging.WARNING)
    assert record.getMessage() == "3 of 100 %s, and no more"
