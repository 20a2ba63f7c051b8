"""What a command prints for programs: one JSON object on the last line of standard output."""

from __future__ import annotations

import json
import sys
from typing import Any


def print_json(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
