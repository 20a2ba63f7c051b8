"""The command, with its batches in processes however few they are."""

import sys

from imagehaul.cli.command import main
from imagehaul.delivery.runners import registry

if __name__ == "__main__":
    registry.FEW_IMAGES = 0
    sys.exit(main())
