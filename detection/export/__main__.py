"""Runs `detection.export.command`."""

import sys

from detection.export.command import main

sys.exit(main())
