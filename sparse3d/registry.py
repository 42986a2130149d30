# SPDX-License-Identifier: Apache-2.0
"""A table from a name to the class or function that answers to it, filled by `@registry.register` in its own file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from sparse3d.errors import UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Name -> thing, in order of registration. `what` is the noun that error messages use."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._things: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        def add(thing: T) -> T:
            if name in self._things:
                raise ValueError(f"{self._what} {name!r} is registered twice")
            self._things[name] = thing
            return thing

        return add

    def names(self) -> list[str]:
        return list(self._things)

    def __iter__(self) -> Iterator[T]:
        return iter(self._things.values())

    def __getitem__(self, name: str) -> T:
        """Raises UsageError that names the nearest known name."""
        if name not in self._things:
            near = difflib.get_close_matches(name, self._things, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"unknown {self._what} {name!r}{hint} (known: {', '.join(self._things) or 'none'})")
        return self._things[name]
