"""Runs `gallery.demo.command`."""

import sys

from gallery.demo.command import main

sys.exit(main())
