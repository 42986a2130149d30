# SPDX-License-Identifier: Apache-2.0
"""Rules on the package's Python that need its syntax tree: the size of functions, and where tensors are made."""

from __future__ import annotations

import ast
from collections.abc import Iterator

MAX_PARAMETERS, MAX_FUNCTION_LINES = 7, 50
# Public operators and what torch's operator schemas ask for: one argument a tensor. Adam's formula.
MANY_PARAMETERS = {
    "sparse3d/kernels/__init__.py:rasterize",
    "sparse3d/kernels/cpu/rasterize.py:_rasterize",
    "sparse3d/kernels/cpu/rasterize.py:_rasterize_vjp",
    "sparse3d/kernels/reference/rasterize.py:rasterize",
    "sparse3d/kernels/reference/adam.py:adam_step",
}
# Rooms whose code runs on any device: a tensor is made where its inputs are. The CPU's own back end is none of them.
ANY_DEVICE = ("train", "judge", "kernels", "compress", "render", "loss", "formulas", "geometry")
_FACTORIES = {
    "zeros", "ones", "empty", "full", "arange", "tensor", "randint", "rand", "randn", "randperm", "eye", "linspace",
    "as_tensor",
}  # fmt: skip


def code_findings(name: str, text: str) -> Iterator[str]:
    """What is wrong with one file of the package; `name` is its path in the repository."""
    room = name.split("/")[1] if name.startswith("sparse3d/") else ""
    any_device = room in ANY_DEVICE and not name.startswith("sparse3d/kernels/cpu/")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and room:
            yield from _size(name, node)
        elif isinstance(node, ast.Call) and any_device and _makes_a_tensor(node):
            yield f"{name}:{node.lineno}: a tensor is made without a device; take it from an input"


def _size(name: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    count = len(names) - (names[:1] in (["self"], ["cls"]))
    if count > MAX_PARAMETERS and f"{name}:{function.name}" not in MANY_PARAMETERS:
        yield f"{name}:{function.lineno}: {function.name} has {count} parameters; is a record missing?"
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if lines > MAX_FUNCTION_LINES:
        yield f"{name}:{function.lineno}: {function.name} has {lines} lines; which parts have a name?"


def _makes_a_tensor(call: ast.Call) -> bool:
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr not in _FACTORIES:
        return False
    if not isinstance(function.value, ast.Name) or function.value.id != "torch":
        return False
    return not any(keyword.arg in ("device", None) for keyword in call.keywords)
