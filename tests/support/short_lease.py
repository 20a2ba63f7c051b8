"""`python short_lease.py imagehaul deliver ...`: the command with leases of 8 seconds, where a test waits for one.

A script of its own, since the length of a lease is no setting.
"""

from __future__ import annotations

import sys
from functools import partial

from imagehaul.cli import command
from imagehaul.delivery import inventory

SECONDS = 8.0

if __name__ == "__main__":
    inventory.lease = partial(inventory.lease, seconds=SECONDS)
    sys.argv = sys.argv[1:]
    sys.exit(command.main())
