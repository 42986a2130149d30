# SPDX-License-Identifier: Apache-2.0
"""The attributes of KHR_gaussian_splatting: splats to arrays of a glTF primitive and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse3d.conventions import SH_C0
from sparse3d.errors import DataError
from sparse3d.formats.axes import Signs, quat_signs, sh_signs
from sparse3d.formats.checks import check_count, numpy_of, to_splats, unit_quats
from sparse3d.formats.cuts import check_writable
from sparse3d.formats.glb.container import glb_head
from sparse3d.formats.glb.gltf_json import accessor_count, child, read_accessor, view_bytes
from sparse3d.formats.glb.nodes import EXTENSION, SPZ_DRAFTS
from sparse3d.formats.spz.bits import unpack
from sparse3d.formats.spz.container import read_container
from sparse3d.geometry.places import Origin
from sparse3d.splats import Splats

SPZ_EXTENSION = f"{EXTENSION}_compression_spz_2"
# The payload is the same under the name that the extension had before.
_SPZ_EXTENSIONS = (SPZ_EXTENSION, f"{EXTENSION}_compression_spz")
# Left-up-forward, glTF's axes, against our right-down-forward.
AXES: Signs = (-1, -1, 1)
_COMPONENT = {"f4": 5126, "i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123}
_TYPE = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
_ARRAY_BUFFER = 34962
# An opacity of exactly 0 or 1 has no finite logit: the float32 next to 1 stands for it.
_OPACITY_EDGE = 2.0**-24
_LEAST_SCALE = 1e-30
LOG_SCALE_RANGE = (-69.0, 80.0)


def stored_attributes(splats: Splats, degree: int, bits: int) -> dict[str, NDArray[Any]]:
    """Arrays [N,C] by the attribute's name, in glTF's axes; integers are normalised ones.

    Raises DataError for no splats and for values that are not finite.
    """
    check_count(splats.num_splats, "the scene to write")
    arrays = numpy_of(splats, degree)
    check_writable(arrays)
    opacity = 1.0 / (1.0 + np.exp(-np.clip(arrays["logit_opacities"].astype(np.float64), -700, 700)))
    quats = unit_quats(arrays["quats_wxyz"]) * quat_signs(AXES)
    signs = sh_signs(AXES, degree).astype(np.float32)
    out: dict[str, NDArray[Any]] = {"POSITION": arrays["means"] * np.array(AXES, np.float32)}
    if bits > 16:
        colour = np.concatenate([0.5 + np.float32(SH_C0) * arrays["sh0"], opacity[:, None]], axis=1)
        out["COLOR_0"] = np.rint(np.clip(colour, 0, 1) * 255).astype(np.uint8)
    out[f"{EXTENSION}:ROTATION"] = _signed(quats[:, [1, 2, 3, 0]], bits)
    out[f"{EXTENSION}:SCALE"] = np.exp(np.clip(arrays["log_scales"], *LOG_SCALE_RANGE))
    out[f"{EXTENSION}:OPACITY"] = _unsigned(opacity[:, None], bits)
    out[harmonic_name(0, 0)] = arrays["sh0"]
    for k in range(arrays["shN"].shape[1]):
        band = int((k + 1) ** 0.5)
        out[harmonic_name(band, k + 1 - band * band)] = arrays["shN"][:, k] * signs[k]
    return out


def glb_of_attributes(
    stored: dict[str, NDArray[Any]], antialias: bool, origin: Origin = (0.0, 0.0, 0.0)
) -> Iterator[bytes]:
    """The pieces of a whole .glb of one primitive: one attribute at a time, so that no second copy is in memory."""
    size = 0
    views, accessors = [], []
    for name, values in stored.items():
        count, width = values.shape
        stride = _stride(values)
        view: dict[str, Any] = {"buffer": 0, "byteOffset": size, "byteLength": count * stride}
        if stride != width * values.itemsize:
            view["byteStride"] = stride
        view["target"] = _ARRAY_BUFFER
        kind = f"{values.dtype.kind}{values.itemsize}"
        accessor: dict[str, Any] = {"bufferView": len(views), "componentType": _COMPONENT[kind], "count": count}
        accessor["type"] = _TYPE[width]
        if values.dtype.kind != "f":
            accessor["normalized"] = True
        if name == "POSITION":
            accessor["min"] = [float(value) for value in values.min(axis=0)]
            accessor["max"] = [float(value) for value in values.max(axis=0)]
        size += count * stride
        views.append(view)
        accessors.append(accessor)
    primitive = {"attributes": {name: i for i, name in enumerate(stored)}, "mode": 0}
    root = {"accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": size}]}
    yield glb_head(scene_json(primitive, {}, antialias, origin) | root, size)
    for values in stored.values():
        rows = np.zeros((len(values), _stride(values)), np.uint8)
        rows[:, : values.shape[1] * values.itemsize] = np.ascontiguousarray(values).view(np.uint8)
        yield rows.tobytes()


def _stride(values: NDArray[Any]) -> int:
    """Bytes from one element to the next: each of a vertex attribute begins at a multiple of 4."""
    return -(-values.shape[1] * values.itemsize // 4) * 4


def scene_json(
    primitive: dict[str, Any], compression: dict[str, Any], antialias: bool, origin: Origin
) -> dict[str, Any]:
    """The JSON of a scene of one primitive. compression: extensions of the extension, which readers then need. origin:
    in our axes; the node stands there, for JSON's numbers are doubles."""
    node: dict[str, Any] = {"mesh": 0}
    if any(origin):
        node["translation"] = [sign * value + 0.0 for sign, value in zip(AXES, origin, strict=True)]
    extension: dict[str, Any] = {
        "kernel": "ellipse",
        "colorSpace": "srgb_rec709_display",
        "sortingMethod": "cameraDistance",
        "projection": "perspective",
    }
    root: dict[str, Any] = {"asset": {"version": "2.0", "generator": "sparse3d"}}
    root["extensionsUsed"] = [EXTENSION, *compression]
    if compression:
        extension["extensions"] = compression
        root["extensionsRequired"] = [EXTENSION, *compression]
    primitive = primitive | {"extensions": {EXTENSION: extension}}
    if antialias:
        primitive["extras"] = {"antialias": True}
    return root | {
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [node],
        "meshes": [{"primitives": [primitive]}],
    }


def read_primitive(root: dict[str, Any], binary: memoryview, primitive: dict[str, Any]) -> Splats:
    """Splats of one primitive, in glTF's axes. Raises DataError."""
    if (unpacked := _compressed(root, binary, primitive)) is not None:
        return unpacked
    attributes = child(primitive, "attributes", "primitive")
    wanted = ["POSITION", *(f"{EXTENSION}:{name}" for name in ("ROTATION", "SCALE", "OPACITY")), harmonic_name(0, 0)]
    if missing := [name for name in wanted if name not in attributes]:
        raise DataError(
            f"glTF: the primitive of splats lacks the attributes {', '.join(missing)}; export the scene again, or as "
            "PLY or SPZ"
        )
    count = accessor_count(root, attributes["POSITION"])
    check_count(count, "glTF: POSITION")

    def values(name: str, width: int) -> NDArray[np.float32]:
        return read_accessor(root, binary, attributes[name], name, width, count)

    log_scales, logits = _raw(values(wanted[2], 3), values(wanted[3], 1)[:, 0])
    names = _rest_names(attributes)
    rest = np.empty((count, len(names), 3), np.float32)
    for k, name in enumerate(names):
        rest[:, k] = values(name, 3)
    return to_splats(
        values("POSITION", 3), unit_quats(values(wanted[1], 4)[:, [3, 0, 1, 2]], keep_zero=True),
        log_scales, logits, values(wanted[4], 3), rest,
        antialias=primitive.get("extras") == {"antialias": True},
    )  # fmt: skip


def _compressed(root: dict[str, Any], binary: memoryview, primitive: dict[str, Any]) -> Splats | None:
    """Splats of a primitive that an extension compresses; None where its attributes hold them. Raises DataError for
    compressions, kernels and colours that are not read."""
    extensions = child(primitive, "extensions", "primitive")
    for name in SPZ_DRAFTS:
        if name in extensions:
            return _spz_payload(root, binary, child(extensions, name, "extensions"))
    extension = child(extensions, EXTENSION, "extensions")
    for name, known in (("kernel", "ellipse"), ("colorSpace", "srgb_rec709_display")):
        if extension.get(name, known) != known:
            raise DataError(
                f"glTF: {EXTENSION}.{name} is {str(extension[name])[:40]!r}; only {known!r} is read; export the scene "
                "with that, or as PLY or SPZ"
            )
    compression = child(extension, "extensions", EXTENSION)
    for name in _SPZ_EXTENSIONS:
        if name in compression:
            return _spz_payload(root, binary, child(compression, name, "extensions"))
    if compression:
        raise DataError(
            f"glTF: splats compressed by {', '.join(map(str, extension['extensions']))} are not read; export it "
            "without that, or as PLY or SPZ"
        )
    return None


def _raw(scale: NDArray[np.float32], opacity: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Log scales [N,3] and opacity logits [N] of SCALE and OPACITY. Raises DataError for what neither can be."""
    if (low := float(scale.min())) < 0:
        raise DataError(
            f"glTF: a SCALE is {low:g}; scales are linear (drafts of 2025 stored logarithms); export the scene again, "
            "or as PLY"
        )
    known = opacity[np.isfinite(opacity)]
    if known.size and not -1e-4 <= float(known.min()) <= float(known.max()) <= 1.0001:
        raise DataError(
            f"glTF: OPACITY goes from {known.min():g} to {known.max():g}, expected 0 to 1; export the scene again, or "
            "as PLY"
        )
    inside = np.clip(opacity.astype(np.float64), _OPACITY_EDGE, 1.0 - _OPACITY_EDGE)
    return np.log(np.maximum(scale, _LEAST_SCALE)), np.log(inside / (1.0 - inside))


def _spz_payload(root: dict[str, Any], binary: memoryview, extension: dict[str, Any]) -> Splats:
    """Splats, in glTF's axes, of the SPZ file in the buffer view that an extension names."""
    return in_gltf_axes(unpack(read_container(bytes(view_bytes(root, binary, extension.get("bufferView"))[0]))))


def in_gltf_axes(splats: Splats) -> Splats:
    """Splats of our axes in glTF's, and the other way round: exact, signs only."""
    arrays = numpy_of(splats, splats.sh_degree)
    return to_splats(
        arrays["means"] * np.array(AXES, np.float32), arrays["quats_wxyz"] * quat_signs(AXES), arrays["log_scales"],
        arrays["logit_opacities"], arrays["sh0"], arrays["shN"] * sh_signs(AXES, splats.sh_degree)[:, None],
        antialias=splats.antialias,
    )  # fmt: skip


def _rest_names(attributes: dict[str, Any]) -> list[str]:
    """Names of the harmonics above degree 0, in order; DataError for a degree with gaps."""
    present = {
        name for name in attributes if name.startswith(f"{EXTENSION}:SH_DEGREE_") and name != harmonic_name(0, 0)
    }
    names: list[str] = []
    while len(names) < len(present):
        band = int((len(names) + 1) ** 0.5)
        whole_band = [harmonic_name(band, n) for n in range(2 * band + 1)]
        if band > 3 or not present.issuperset(whole_band):
            odd = sorted(present - set(names))
            raise DataError(
                f"glTF: harmonics are not whole degrees from 1 to 3: {', '.join(odd)[:200]}; export the scene again, "
                "or as PLY"
            )
        names += whole_band
    return names


def harmonic_name(degree: int, n: int) -> str:
    """Name of the attribute of one coefficient, n from 0 to 2 degree."""
    return f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{n}"


def _signed(values: NDArray[np.float32], bits: int) -> NDArray[Any]:
    if bits > 16:
        return values
    kind = np.int16 if bits > 8 else np.int8
    return np.rint(values * np.float32(np.iinfo(kind).max)).astype(kind)


def _unsigned(values: NDArray[np.float64], bits: int) -> NDArray[Any]:
    if bits > 16:
        return values.astype(np.float32)
    kind = np.uint16 if bits > 8 else np.uint8
    return np.rint(values * np.iinfo(kind).max).astype(kind)
