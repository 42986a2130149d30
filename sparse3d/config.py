# SPDX-License-Identifier: Apache-2.0
"""Configurations in layers: dataclass defaults < presets (TOML) < what the user gave by hand.

A layer is a nested mapping of only the keys it sets, so that a value given by hand wins even where it equals the
default. Unknown keys and values of the wrong type are UsageErrors that say where they came from.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import sys
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sparse3d.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

C = TypeVar("C")


@dataclasses.dataclass(frozen=True)
class Layer:
    """Values to put over those of the layers before. `source` is what messages call it: a path, or "command line"."""

    source: str
    values: Mapping[str, Any]


def resolve(base: C, layers: Sequence[Layer]) -> C:
    """`base` (a dataclass instance, usually of defaults only) with every layer applied in order, later ones winning."""
    for layer in layers:
        base = _overlay(base, layer.values, layer.source, prefix="")
    return base


def _overlay(config: C, values: Mapping[str, Any], source: str, prefix: str) -> C:
    hints = typing.get_type_hints(type(config))
    fields = {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in fields:
            raise UsageError(f"{source}: unknown key {prefix + key!r}{_nearest(name, prefix, fields)}")
        current = getattr(config, name)
        if dataclasses.is_dataclass(current) and isinstance(value, Mapping):
            changes[name] = _overlay(current, value, source, f"{prefix}{name}.")
        else:
            changes[name] = _convert(value, hints[name], f"{source}: {prefix}{name}")
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def _nearest(name: str, prefix: str, fields: Iterable[str]) -> str:
    known = sorted(fields)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    listed = ", ".join(known)
    return f"; did you mean {prefix + near[0]!r}?" if near else f" (known here: {listed})"


def _convert(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type of the field. Only lossless conversions: int to float, list to tuple, str to Path."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for option in args:
            try:
                return _convert(value, option, where)
            except UsageError:
                continue
    elif origin is typing.Literal:
        if value in args:
            return value
        near = difflib.get_close_matches(str(value), [str(a) for a in args], n=1)
        hint_text = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"{where} is {value!r}, expected one of {', '.join(map(repr, args))}{hint_text}")
    elif origin is tuple and isinstance(value, (list, tuple)):
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_convert(item, args[0], where) for item in value)
        if len(args) == len(value):
            return tuple(_convert(item, arg, where) for item, arg in zip(value, args))
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    elif hint is Path and isinstance(value, (str, Path)):
        return Path(value)
    elif hint is type(None) and value is None:
        return None
    elif hint in (bool, str) and isinstance(value, hint):
        return value
    raise UsageError(f"{where} is {value!r}, expected {_type_name(hint)}")


def _type_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


def presets_folder() -> Path:
    """Where the presets lie: in the installed package, or at the top of the source tree."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "configs"


# A file beside the presets that is none: its values come over any of them.
_FEW_VIEWS = "few_views"


def preset_names() -> list[str]:
    return sorted(path.stem for path in presets_folder().glob("*.toml") if path.stem != _FEW_VIEWS)


def few_views() -> Layer:
    """The layer of `configs/few_views.toml`, which comes over any preset where photos are few."""
    return read_layer(presets_folder() / f"{_FEW_VIEWS}.toml")


def preset_purpose(name: str) -> str:
    """The first line of the preset's file, which says what it is for."""
    return _preset_path(name).read_text(encoding="utf-8").splitlines()[0].lstrip("# ").strip()


def preset(name: str) -> Layer:
    """The layer of `configs/NAME.toml`. Raises UsageError naming the nearest preset."""
    return read_layer(_preset_path(name))


def _preset_path(name: str) -> Path:
    path = presets_folder() / f"{name}.toml"
    if name == _FEW_VIEWS or not path.is_file():
        near = difflib.get_close_matches(name, preset_names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"unknown preset {name!r}{hint} (known: {', '.join(preset_names())})")
    return path


def read_layer(path: Path) -> Layer:
    """A TOML file as a layer. Raises UsageError where it is missing or not TOML."""
    try:
        return Layer(str(path), tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such configuration file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain values (paths as strings, tuples as lists); keys whose value is None are left out, as TOML has
    none."""
    out: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            out[field.name] = to_dict(value)
        elif value is not None:
            out[field.name] = _plain(value)
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def to_toml(config: Any, opening: str = "") -> str:
    """The whole configuration as TOML that `read_layer` reads back to the same values. `opening`: a first comment
    line."""
    lines = [f"# {line}" for line in opening.splitlines()]
    _write_table(to_dict(config), (), lines)
    return "\n".join(lines) + "\n"


def _write_table(values: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    if path and plain:
        lines += ["", f"[{'.'.join(path)}]"]
    lines += [f"{key} = {_toml_value(value)}" for key, value in plain.items()]
    for key, value in values.items():
        if isinstance(value, Mapping):
            _write_table(value, (*path, key), lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, except that TOML also wants DEL escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float):
        # repr is the shortest text that reads back to the same float; TOML wants a dot or an exponent, and has one.
        return repr(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    raise TypeError(f"no TOML for {type(value).__name__}")


def digest(values: Mapping[str, Any]) -> str:
    """A short hash that two nested mappings share only if they hold the same values, whatever the order of keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def leaves(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of all values of nested mappings."""
    names: list[str] = []
    for key, value in values.items():
        names += leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [prefix + key]
    return names


def at(values: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted name in nested mappings, None where there is none."""
    found: Any = values
    for key in name.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the keys whose values differ, or that only one has."""
    names: list[str] = []
    for key in [*a, *(k for k in b if k not in a)]:
        left, right = a.get(key), b.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            names += differences(left, right, f"{prefix}{key}.")
        elif left != right:
            names.append(prefix + key)
    return names
