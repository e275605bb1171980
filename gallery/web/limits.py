"""What one visitor may ask of the server."""

from __future__ import annotations

import dataclasses

from atelier.errors import SettingsError


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one visitor may ask of the server."""

    upload_megabytes: float = 20
    """Size of an uploaded file, MB."""
    megapixels: float = 24
    """Pixels of an uploaded picture, millions."""
    waiting: int = 16
    """Requests that wait for their turn; to further ones the server says that it is busy."""
    seconds: float = 120
    """Time that a request may take, from its turn on."""
    keep_minutes: float = 30
    """How long uploads and results stay, minutes."""
    disk_megabytes: float = 2000
    """All uploads and results together, MB; beyond it the oldest go sooner."""

    def __post_init__(self):
        for field in dataclasses.fields(Limits):
            if not getattr(self, field.name) > 0:
                raise SettingsError(f"--{field.name.replace('_', '-')} must be more than 0")

    @property
    def upload_bytes(self) -> int:
        return round(self.upload_megabytes * 1e6)

    @property
    def pixels(self) -> int:
        return round(self.megapixels * 1e6)


_limits = Limits()


def limits() -> Limits:
    """Those in force."""
    return _limits


def set_limits(new: Limits) -> None:
    """Puts limits into force; the command calls it once, before it builds the page."""
    global _limits
    _limits = new
