# SPDX-License-Identifier: Apache-2.0
"""The user's own monocular depth network: an ONNX file, run by onnxruntime on the CPU.

It is called as Depth Anything (Yang et al. 2024) and its many exports are: one input [1,3,H,W] of sRGB in 0..1,
normalised by ImageNet's mean and deviation, sides in multiples of 14; output [1,H,W] or [1,1,H,W].
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import BackendError, DataError

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_SHORT_SIDE, _MULTIPLE = 518, 14
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxDepth:
    """The network in one file. Raises BackendError without onnxruntime, DataError if the file holds no such network.

    A fixed input size is used as it is; otherwise the photo's shorter side becomes 518 pixels.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"--prior-depth {path}: there is no such model file")
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendError(
                f"--prior-depth {path}: running an ONNX model needs onnxruntime, which is not installed; install it "
                "with `pip install 'sparse3d[priors]'`, or give a folder of depth maps"
            ) from error
        options: Any = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.use_deterministic_compute = True
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        # Its exceptions have no common base other than Exception.
        except Exception as error:
            raise DataError(f"{path}: onnxruntime cannot load this model: {_one_line(error)}") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise DataError(f"{path}: the model has {len(inputs)} inputs; a depth model has one, the photo [1,3,H,W]")
        shape, self._type = list(inputs[0].shape), inputs[0].type
        self._name = inputs[0].name
        # A free size is a name or None.
        fits = len(shape) == 4 and shape[0] in (1, None, str(shape[0])) and shape[1] in (3, None, str(shape[1]))
        if not fits or self._type not in _TYPES:
            raise DataError(
                f"{path}: the model's input {self._name} is {self._type} {shape}; expected tensor(float) [1,3,H,W]"
            )
        self._height, self._width = (side if isinstance(side, int) and side > 0 else 0 for side in shape[2:])

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) at which a photo of width x height is given to the network."""
        scale = _SHORT_SIDE / min(width, height)
        free = [max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE) for side in (width, height)]
        return self._width or free[0], self._height or free[1]

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Photo [H,W,3] uint8 -> the network's output [h,w] float32 for the whole photo, at the network's own size."""
        size = self.input_size(rgb.shape[1], rgb.shape[0])
        shrinks = size[0] * size[1] < rgb.shape[0] * rgb.shape[1]
        resized = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        values = (resized.astype(np.float32) / 255.0 - _MEAN) / _DEVIATION
        batch = np.ascontiguousarray(values.transpose(2, 0, 1)[None].astype(_TYPES[self._type]))
        try:
            outputs = self._session.run(None, {self._name: batch})
        except Exception as error:
            raise DataError(
                f"{self.path}: the model broke down on a photo of {size[0]}x{size[1]} pixels: {_one_line(error)}"
            ) from error
        for output in outputs:
            found = np.asarray(output)
            if found.ndim in (3, 4) and found.shape[:-2] in ((1,), (1, 1)) and min(found.shape[-2:]) > 1:
                return found.reshape(found.shape[-2:]).astype(np.float32)
        shapes = ", ".join(str(list(np.shape(output))) for output in outputs)
        raise DataError(f"{self.path}: the model's output is {shapes}; expected depth [1,H,W] or [1,1,H,W]")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
