"""Runs `classify.export.command`."""

import sys

from classify.export.command import main

sys.exit(main())
