# SPDX-License-Identifier: Apache-2.0
"""The tree of glTF's nodes: where each primitive of splats stands, and splats moved there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.errors import DataError
from sparse3d.formats.checks import damaged
from sparse3d.formats.glb.gltf_json import child, item, numbers, whole
from sparse3d.formulas.harmonics import sh_basis
from sparse3d.geometry.quaternions import quat_product
from sparse3d.splats import Splats

EXTENSION = "KHR_gaussian_splatting"
# What drafts of 2025 called a primitive that is an SPZ file; Cesium ion and GISBox wrote the second name.
SPZ_DRAFTS = ("KHR_spz_compression", "KHR_spz_gaussian_splats_compression")
# Columns of a matrix may differ so much in length before splats would change their shape.
_UNEVEN = 1e-3


def splat_primitives(root: dict[str, Any]) -> Iterator[tuple[dict[str, Any], NDArray[np.float64]]]:
    """Each primitive with KHR_gaussian_splatting, or a draft of it that holds SPZ, in the scene and its [4,4]
    transformation to the scene's axes.

    Raises DataError for a node that is reached twice (glTF's nodes are trees).
    """
    todo = [(index, np.eye(4)) for index in _roots(root)]
    seen: set[int] = set()
    while todo:
        index, above = todo.pop()
        node = item(root, "nodes", index)
        if index in seen:
            raise damaged(f"glTF: nodes[{index}] is reached twice, so the nodes are no tree")
        seen.add(index)
        matrix = above @ _local(node, f"nodes[{index}]")
        todo += [(below, matrix) for below in _listed(node, "children")]
        if "mesh" not in node:
            continue
        for primitive in _listed(item(root, "meshes", node["mesh"]), "primitives"):
            if not isinstance(primitive, dict):
                raise damaged(f"glTF: a primitive of meshes[{node['mesh']}] is no object")
            if not child(primitive, "extensions", "primitive").keys().isdisjoint((EXTENSION, *SPZ_DRAFTS)):
                yield primitive, matrix


def moved(splats: Splats, matrix: NDArray[np.float64]) -> Splats:
    """Splats under a rotation, one scale for all axes and a translation. Raises DataError for other matrices."""
    if np.array_equal(matrix, np.eye(4)):
        return splats
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    scale = float(lengths.mean())
    turn = matrix[:3, :3] / max(scale, 1e-30)
    if scale <= 0 or np.abs(turn.T @ turn - np.eye(3)).max() > _UNEVEN or np.linalg.det(turn) < 0:
        raise DataError(
            "glTF: a node mirrors, shears or stretches its splats unevenly, which is not read; apply the transform in "
            "the program that made it, and export it again"
        )
    rotation = torch.from_numpy(turn)
    means = splats.means.double() @ rotation.T * scale + torch.from_numpy(matrix[:3, 3])
    out = replace(splats, means=means.float(), log_scales=splats.log_scales + float(np.log(scale)))
    if np.allclose(turn, np.eye(3), atol=1e-7):
        return out
    quats = quat_product(torch.from_numpy(_quat(turn)), splats.quats_wxyz.double())
    return replace(out, quats_wxyz=quats.float(), shN=_turned_harmonics(splats, rotation))


def has_triangles(root: dict[str, Any]) -> bool:
    """Whether any mesh of the file has triangles, which is glTF's default."""
    meshes = [mesh for mesh in _listed(root, "meshes") if isinstance(mesh, dict)]
    primitives = [p for mesh in meshes for p in _listed(mesh, "primitives") if isinstance(p, dict)]
    return any(primitive.get("mode", 4) in (4, 5, 6) for primitive in primitives)


def _roots(root: dict[str, Any]) -> list[int]:
    if "scenes" in root:
        return _listed(item(root, "scenes", whole(root, "scene", "glTF", 0)), "nodes")
    nodes = _listed(root, "nodes")
    below = {index for node in nodes if isinstance(node, dict) for index in map(str, _listed(node, "children"))}
    return [index for index in range(len(nodes)) if str(index) not in below]


def _listed(parent: dict[str, Any], name: str) -> list[Any]:
    value = parent.get(name, [])
    if not isinstance(value, list):
        raise damaged(f"glTF: {name} is a {type(value).__name__}, expected a list")
    return value


def _local(node: dict[str, Any], where: str) -> NDArray[np.float64]:
    matrix = numbers(node, "matrix", 16, where)
    if matrix is not None:
        return matrix.reshape(4, 4).T
    out = np.eye(4)
    turn = numbers(node, "rotation", 4, where)
    if turn is not None:
        if not np.linalg.norm(turn) > 0:
            raise damaged(f"glTF: {where}.rotation is zero, expected a unit quaternion")
        out[:3, :3] = _matrix(turn / np.linalg.norm(turn))
    scale = numbers(node, "scale", 3, where)
    if scale is not None:
        out[:3, :3] *= scale
    shift = numbers(node, "translation", 3, where)
    if shift is not None:
        out[:3, 3] = shift
    return out


def _matrix(xyzw: NDArray[np.float64]) -> NDArray[np.float64]:
    axis, w = xyzw[:3], xyzw[3]
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def _quat(turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """wxyz of a rotation matrix: the eigenvector of Davenport's symmetric 4x4 matrix with the largest eigenvalue."""
    sym = turn + turn.T - np.eye(3) * np.trace(turn)
    k = np.zeros((4, 4))
    k[0, 0] = np.trace(turn)
    k[1:, 1:] = sym
    k[0, 1:] = k[1:, 0] = turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]
    return np.linalg.eigh(k)[1][:, -1]


def _turned_harmonics(splats: Splats, rotation: torch.Tensor) -> torch.Tensor:
    """Harmonics [N,K,3] seen from turned directions: a linear map within each degree, found from 64 directions (a
    function of degree l is fixed by its values there, so the least-squares fit is exact)."""
    degree = splats.sh_degree
    if degree == 0:
        return splats.shN
    dirs = torch.randn(64, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    dirs = dirs / dirs.norm(dim=1, keepdim=True)
    here, there = sh_basis(dirs, degree), sh_basis(dirs @ rotation, degree)
    parts = []
    for band in range(1, degree + 1):
        own = slice(band * band, (band + 1) ** 2)
        change = torch.linalg.lstsq(here[:, own], there[:, own]).solution
        rest = slice(band * band - 1, (band + 1) ** 2 - 1)
        parts.append(torch.einsum("ij,njc->nic", change, splats.shN[:, rest].double()))
    return torch.cat(parts, dim=1).float()
