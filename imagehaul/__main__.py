"""`python -m imagehaul` is the command."""

import sys

from imagehaul.cli.command import main

if __name__ == "__main__":
    sys.exit(main())
