"""What a user is told when something is theirs to mend: one line, no traceback."""


class AtelierError(Exception):
    """A mistake in what was asked for; its text is one line that says what to do."""


class ImageError(AtelierError):
    """A picture that cannot be read, or is outside the stated bounds."""


class DataError(AtelierError):
    """A data set that is missing, damaged or not what it should be."""


class WeightsError(AtelierError):
    """Weights that are missing, damaged or not what they should be."""


class SettingsError(AtelierError):
    """A setting, or a combination of settings, that makes no sense."""


class OutputError(AtelierError):
    """A result that cannot be written where it was asked to go."""
