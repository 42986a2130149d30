# SPDX-License-Identifier: Apache-2.0
"""A small ONNX model written byte by byte: protobuf's wire format and the few fields of onnx.proto that are needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

FLOAT, DOUBLE = 1, 11
# AttributeProto's types.
_INT, _INTS = 2, 7


def write_model(
    path: Path,
    nodes: Sequence[bytes],
    input_shape: Sequence[int | str],
    output_shape: Sequence[int | str],
    kind: int = FLOAT,
) -> None:
    """A model of one input "x" and one output "y"; strings in shapes are free sizes."""
    graph = b"".join(_bytes(1, node) for node in nodes) + _text(2, "g")
    graph += _bytes(11, _value("x", input_shape, kind)) + _bytes(12, _value("y", output_shape, kind))
    # ModelProto: ir_version 1, graph 7, opset_import 8 (domain 1, version 2).
    path.write_bytes(_int(1, 8) + _bytes(7, graph) + _bytes(8, _text(1, "") + _int(2, 13)))


def node(op: str, inputs: Sequence[str], output: str, **attributes: int | list[int]) -> bytes:
    """NodeProto: input 1, output 2, op_type 4, attribute 5."""
    out = b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(4, op)
    for name, value in attributes.items():
        several = isinstance(value, list)
        values = b"".join(_int(8, v) for v in value) if isinstance(value, list) else _int(3, value)
        out += _bytes(5, _text(1, name) + values + _int(20, _INTS if several else _INT))
    return out


def _value(name: str, shape: Sequence[int | str], kind: int) -> bytes:
    sides = b"".join(_bytes(1, _text(2, s) if isinstance(s, str) else _int(1, s)) for s in shape)
    return _text(1, name) + _bytes(2, _bytes(1, _int(1, kind) + _bytes(2, sides)))


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())
