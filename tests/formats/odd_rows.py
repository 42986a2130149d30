# SPDX-License-Identifier: Apache-2.0
"""Files of every kind with odd rows in them, as other programs leave them: packed here, not by our writers."""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from sparse3d.conventions import SH_C0
from sparse3d.formats import FORMATS, WriteOptions
from sparse3d.formats.axes import quat_signs, sh_signs
from sparse3d.formats.glb.attributes import AXES, glb_of_attributes, harmonic_name
from sparse3d.formats.glb.nodes import EXTENSION
from sparse3d.formats.spz import bits
from sparse3d.formats.spz.container import read_container, write_container
from sparse3d.splats import Splats

COUNT, ODD = 40, slice(10, 16)
_FINE = {"sh1_bits": 8, "sh_rest_bits": 8, "sh_rounding": 0}


def plain() -> Splats:
    """Splats that fill a picture seen from the origin's side, without any odd row."""
    generator = torch.Generator().manual_seed(11)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator) * (high - low) + low

    return Splats(
        means=uniform(-1.0, 1.0, COUNT, 3),
        quats_wxyz=torch.nn.functional.normalize(torch.randn(COUNT, 4, generator=generator), dim=1),
        log_scales=uniform(-2.5, -1.2, COUNT, 3),
        logit_opacities=uniform(-0.5, 3.0, COUNT),
        sh0=uniform(-1.2, 1.2, COUNT, 1, 3),
        shN=uniform(-0.2, 0.2, COUNT, 3, 3),
    )


def _set(parameter: str, value: float) -> Callable[[Splats], None]:
    def change(splats: Splats) -> None:
        getattr(splats, parameter)[ODD] = value

    return change


def _times(parameter: str, factor: float) -> Callable[[Splats], None]:
    def change(splats: Splats) -> None:
        getattr(splats, parameter)[ODD] *= factor

    return change


def _flat(splats: Splats) -> None:
    splats.log_scales[ODD, 1] = -math.inf


KINDS: dict[str, Callable[[Splats], None]] = {
    "no rotation": _set("quats_wxyz", 0.0),
    "nan place": _set("means", math.nan),
    "nan scale": _set("log_scales", math.nan),
    "opaque": _set("logit_opacities", math.inf),
    "invisible": _set("logit_opacities", -math.inf),
    "large": _set("log_scales", 2.0),
    "huge": _set("log_scales", 12.0),
    "larger than anything": _set("log_scales", 60.0),
    "small": _set("log_scales", -12.0),
    "tiny": _set("log_scales", -60.0),
    "flat": _flat,
    "long rotation": _times("quats_wxyz", 1e6),
    "very long rotation": _times("quats_wxyz", 1e25),
    "short rotation": _times("quats_wxyz", 1e-6),
    "very short rotation": _times("quats_wxyz", 1e-25),
    "bright": _set("sh0", 9.0),
    "much too bright": _set("sh0", 1e4),
    "strong harmonics": _times("shN", 12.0),
    "far too strong harmonics": _times("shN", 1e4),
}


def _linear(splats: Splats) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.exp(splats.log_scales.numpy())


def _rgba(splats: Splats) -> np.ndarray:
    colour = np.nan_to_num(splats.sh0[:, 0].numpy()) * SH_C0 + 0.5
    with_alpha = np.concatenate([colour, splats.opacities.numpy()[:, None]], axis=1)
    return np.rint(with_alpha.clip(0, 1) * 255).astype(np.uint8)


def as_ply(splats: Splats) -> bytes:
    k = splats.shN.shape[1]
    names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", *(f"f_rest_{i}" for i in range(3 * k)), "opacity"]
    names += [*(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    rest = splats.shN.transpose(1, 2).reshape(COUNT, -1)
    columns = (splats.means, splats.sh0[:, 0], rest, splats.logit_opacities[:, None], splats.log_scales)
    rows = torch.cat((*columns, splats.quats_wxyz), dim=1).numpy().astype("<f4")
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n"
    return (header + "".join(f"property float {name}\n" for name in names) + "end_header\n").encode() + rows.tobytes()


def as_splat(splats: Splats) -> bytes:
    rows = np.zeros(COUNT, np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)]))
    quats = torch.nn.functional.normalize(splats.quats_wxyz.double(), dim=1, eps=1e-300).numpy()
    rows["mean"], rows["scale"], rows["rgba"] = splats.means.numpy(), _linear(splats), _rgba(splats)
    rows["quat"] = np.rint(quats * 127 + 128)
    return rows.tobytes()


def as_ksplat(splats: Splats) -> bytes:
    """Level 0: everything as float32, but colour and opacity."""
    row = np.dtype([("m", "<f4", 3), ("s", "<f4", 3), ("q", "<f4", 4), ("rgba", "u1", 4), ("sh", "<f4", 9)])
    rows = np.zeros(COUNT, row)
    rows["m"], rows["s"], rows["q"] = splats.means.numpy(), _linear(splats), splats.quats_wxyz.numpy()
    rows["rgba"], rows["sh"] = _rgba(splats), splats.shN.transpose(1, 2).reshape(COUNT, 9).numpy()
    head = bytearray(4096)
    head[:2] = b"\0\1"
    struct.pack_into("<4I", head, 4, 1, 1, COUNT, COUNT)
    section = bytearray(1024)
    struct.pack_into("<2I", section, 0, COUNT, COUNT)
    struct.pack_into("<H", section, 40, 1)
    return bytes(head) + bytes(section) + rows.tobytes()


def as_glb(splats: Splats) -> bytes:
    axes, turn = np.array(AXES, np.float32), quat_signs(AXES)
    stored = {
        "POSITION": splats.means.numpy() * axes,
        f"{EXTENSION}:ROTATION": (splats.quats_wxyz.numpy() * turn)[:, [1, 2, 3, 0]],
        f"{EXTENSION}:SCALE": _linear(splats),
        f"{EXTENSION}:OPACITY": splats.opacities[:, None].numpy(),
        harmonic_name(0, 0): splats.sh0[:, 0].numpy(),
    }
    for k in range(3):
        stored[harmonic_name(1, k)] = splats.shN[:, k].numpy() * np.float32(sh_signs(AXES, 1)[k])
    return b"".join(glb_of_attributes(stored, False))


def ours(name: str, splats: Splats, opts: WriteOptions | None = None) -> bytes:
    file = io.BytesIO()
    FORMATS[name].write(file, splats, opts or WriteOptions())
    return file.getvalue()


def as_spz(version: int, splats: Splats) -> bytes:
    """Bytes at their ends in some rows: rotations longer than 1, all or no opacity, colours, harmonics and sizes."""
    packed = read_container(ours("spz", splats, WriteOptions(knobs=_FINE)))
    if version == 2:
        quats = bits.unpack(packed).quats_wxyz.numpy() * quat_signs(packed.signs)
        quats *= np.where(quats[:, :1] < 0, -1, 1)
        packed = replace(packed, rotations=np.rint(quats[:, 1:] * 127.5 + 127.5).clip(0, 255).astype(np.uint8))
    # What is read shares the memory of the file.
    streams = {name: getattr(packed, name).copy() for name in ("rotations", "alphas", "sh", "scales", "colours")}
    for name, byte in (("rotations", 255), ("alphas", 255), ("sh", 0), ("scales", 0), ("colours", 255)):
        streams[name][:3] = byte
    streams["alphas"][3:5] = 0
    streams["scales"][5:7] = 200
    return write_container(replace(packed, version=version, **streams))


def as_compressed_ply(splats: Splats) -> bytes:
    """Rotations whose three stored parts are longer than 1, and no or all opacity."""
    data = ours("compressed.ply", splats)
    at = data.index(b"end_header\n") + len(b"end_header\n") + 18 * 4
    words = np.frombuffer(data[at : at + 16 * COUNT], "<u4").reshape(COUNT, 4).copy()
    words[:3, 1] = 0xFFFFFFFF
    words[3:5, 3] &= 0xFFFFFF00
    words[5:7, 3] |= 0xFF
    return data[:at] + words.tobytes() + data[at + 16 * COUNT :]


def as_sog(splats: Splats) -> bytes:
    """Codebooks whose ends are far away: sizes of 1e-26 and 160,000 units, colours a hundred times white."""
    parts = FORMATS["sog"].parts(splats, WriteOptions())  # pyright: ignore[reportAttributeAccessIssue]
    meta = json.loads(parts["meta.json"])
    meta["scales"]["codebook"][0], meta["scales"]["codebook"][-1] = -60.0, 12.0
    meta["sh0"]["codebook"][-1] = 350.0
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in {**parts, "meta.json": json.dumps(meta).encode()}.items():
            archive.writestr(name, data)
    return out.getvalue()


PACKED: dict[str, tuple[str, Callable[[Splats], bytes]]] = {
    "spz 2": (".spz", partial(as_spz, 2)),
    "spz 3": (".spz", partial(as_spz, 3)),
    "spz 4": (".spz", partial(as_spz, 4)),
    "compressed.ply": (".compressed.ply", as_compressed_ply),
    "sog": (".sog", as_sog),
    "html": (".html", partial(ours, "html")),
    "glb-spz": (".spz.glb", partial(ours, "glb-spz")),
}
RAW: dict[str, Callable[[Splats], bytes]] = {
    ".ply": as_ply, ".splat": as_splat, ".ksplat": as_ksplat, ".glb": as_glb,
}  # fmt: skip
