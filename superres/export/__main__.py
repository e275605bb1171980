"""Runs `superres.export.command`."""

import sys

from superres.export.command import main

sys.exit(main())
