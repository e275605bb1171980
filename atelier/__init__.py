"""The ground floor: what all of Atelier's tasks share. Importing it costs nothing."""

from atelier import quiet

quiet.install()
