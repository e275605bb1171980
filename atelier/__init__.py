"""The ground floor: what all of Atelier's tasks share. Importing it costs nothing."""

from atelier.imports import quiet

quiet.install()
