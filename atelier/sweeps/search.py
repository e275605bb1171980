"""Which settings a sweep tries: all combinations of a grid, or some of them at random."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import typing
from collections.abc import Sequence
from typing import TypeVar

from atelier import cli
from atelier.errors import SettingsError

Config = TypeVar("Config")

WIDEST = 2**62
"""Whole numbers in a range, at most."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """Numbers that need not be whole, from `low` to `high`."""

    low: float
    high: float
    log: bool
    """Whether each power of ten is as likely as the next, rather than each number."""

    def draw(self, rng: random.Random) -> float:
        if not self.log:
            return rng.uniform(self.low, self.high)
        drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return min(max(drawn, self.low), self.high)  # exp and log need not be exact.


Axis = Sequence | Interval
"""The values that a field may take."""


def parse_grid(axes: Sequence[str], base: Config) -> list[dict[str, object]]:
    """All combinations of a grid.

    Args:
        axes: each FIELD=VALUE,VALUE…, a field of `base` (- and _ are the same). The value of a
            field that holds several numbers is written 100:200.
        base: the settings that the trials vary; values are read as the field's flag would be.

    Returns:
        One dictionary of changed fields a trial, the last axis fastest.

    Raises:
        SettingsError: an axis that cannot be read, or settings that make no sense together.
    """
    parsed = _parse(axes, base)
    for name, axis in parsed.items():
        if not isinstance(axis, tuple):
            raise SettingsError(f"--grid {name} is a range: pass --samples N to draw from it")
    return _checked(base, parsed, itertools.product(*parsed.values()))


def draw_settings(
    axes: Sequence[str], base: Config, samples: int, seed: int = 0
) -> list[dict[str, object]]:
    """Some combinations at random, none of them twice.

    Args:
        axes: as `parse_grid` takes them. The axis of a number may also be a range, both of its
            ends included: FIELD=LOW..HIGH, whole numbers for a field of those, and others
            uniformly; or FIELD=log:LOW..HIGH, the logarithms of which are uniform.
        base: the settings that the trials vary.
        samples: how many; where there are no more combinations than that, all of them.
        seed: of the draw. The same axes, samples and seed give the same settings.

    Returns:
        One dictionary of changed fields a trial, in the order in which they were drawn.

    Raises:
        SettingsError: an axis that cannot be read, or settings that make no sense together.
    """
    if samples < 1:
        raise SettingsError(f"--samples must be at least 1, not {samples}")
    parsed, rng = _parse(axes, base), random.Random(seed)
    if any(isinstance(axis, Interval) for axis in parsed.values()):
        drawn = (
            [a.draw(rng) if isinstance(a, Interval) else rng.choice(a) for a in parsed.values()]
            for _ in range(samples)
        )
        return _checked(base, parsed, drawn)
    distinct = [a if isinstance(a, range) else tuple(dict.fromkeys(a)) for a in parsed.values()]
    total = math.prod(map(len, distinct))
    if total <= WIDEST:
        numbers = rng.sample(range(total), min(samples, total))
    else:
        numbers = {}
        while len(numbers) < samples:
            numbers[rng.randrange(total)] = None
    return _checked(base, parsed, (_combination(distinct, number) for number in numbers))


def _combination(axes: Sequence[Sequence], number: int) -> list:
    """The `number`th of all combinations, the last axis fastest."""
    chosen = []
    for axis in reversed(axes):
        number, place = divmod(number, len(axis))
        chosen.append(axis[place])
    return chosen[::-1]


def _checked(base, names, combinations) -> list[dict[str, object]]:
    changes = [dict(zip(names, chosen, strict=True)) for chosen in combinations]
    for change in changes:
        dataclasses.replace(base, **change)  # Settings that refuse each other are told here.
    return changes


def _parse(axes: Sequence[str], base) -> dict[str, Axis]:
    known = {field.name for field in dataclasses.fields(base)}
    parsed = {}
    for axis in axes:
        name, _, values = axis.partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        if not values or name not in known:
            raise SettingsError(
                f"--grid takes FIELD=VALUE,VALUE with a field of the settings, not {axis!r}"
            )
        if name in parsed:
            raise SettingsError(f"--grid names {name} twice")
        if ".." in values and _number(base, name):
            parsed[name] = _range(base, name, values.strip())
        else:
            parsed[name] = tuple(_read(base, name, value.strip()) for value in values.split(","))
    return parsed


def _number(base, name: str) -> type | None:
    """int or float, if that is what a field holds, perhaps beside None."""
    kind = typing.get_type_hints(type(base))[name]
    if typing.get_origin(kind) is tuple:
        return None
    kinds = {*(typing.get_args(kind) or (kind,))} - {type(None)}
    return kinds.pop() if kinds in ({int}, {float}) else None


def _range(base, name: str, text: str) -> range | Interval:
    whole, log = _number(base, name) is int, text.startswith("log:")
    low, high = (_read(base, name, end.strip()) for end in text.removeprefix("log:").split("..", 1))
    if None in (low, high) or not -math.inf < low < high < math.inf:
        raise SettingsError(f"--grid {name}: a range goes from LOW up to HIGH, not {text!r}")
    if log and (whole or low <= 0):
        raise SettingsError(
            f"--grid {name}: log: is for numbers above 0 that need not be whole, not {text!r}"
        )
    if not whole:
        return Interval(low, high, log)
    if high - low >= WIDEST:
        raise SettingsError(f"--grid {name}: {text!r} is too wide a range")
    return range(low, high + 1)


def _read(base, name: str, value: str):
    flag = "--" + name.replace("_", "-")
    if isinstance(getattr(base, name), bool):
        if value.lower() not in ("true", "false"):
            raise SettingsError(f"{name} is true or false, not {value!r}")
        return value.lower() == "true"
    kind = typing.get_type_hints(type(base))[name]
    # Names may hold colons themselves.
    several = typing.get_origin(kind) is tuple and {*typing.get_args(kind)} <= {int, float, ...}
    # The field alone: with the defaults of the others its value may make no sense.
    axis = dataclasses.make_dataclass("Axis", [(name, kind)])
    return getattr(cli.parse(axis, [flag, *(value.split(":") if several else [value])]), name)
