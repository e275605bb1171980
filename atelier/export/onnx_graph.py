"""ONNX graphs, written node by node: no converter, no dependency but `onnx`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from atelier.errors import SettingsError, missing_extra
from atelier.files import atomic_path

OPSET, IR_VERSION = 17, 8
"""Old enough for the runtimes of 2022."""


class OnnxGraph:
    """Nodes and constants, one after another; a tensor is its name.

    Raises:
        SettingsError: the package `onnx` is missing.
    """

    def __init__(self):
        try:
            import onnx
        except ImportError:
            raise SettingsError(missing_extra("onnx")) from None
        self.onnx = onnx
        self.nodes, self.constants = [], []

    def node(self, kind: str, inputs: list[str], output: str, **attributes) -> str:
        """Appends a node, and names its output."""
        node = self.onnx.helper.make_node(kind, inputs, [output], name=output, **attributes)
        self.nodes.append(node)
        return output

    def constant(self, value, name: str, dtype: type = np.float32) -> str:
        """Appends a constant."""
        array = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def write(
        self,
        path: str | os.PathLike,
        *,
        name: str,
        description: str,
        input: Mapping[str, Sequence[int | str]],
        output: Mapping[str, Sequence[int | str]],
        dtypes: Mapping[str, type] | None = None,
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = True,
    ) -> None:
        """Checks the graph and writes it, whole or not at all.

        Args:
            path: where to.
            name: of the graph.
            description: in words.
            input: names and shapes of tensors; a word stands for any length.
            output: the same.
            dtypes: of those tensors that are not float32.
            metadata: kept in the file by name, for whoever runs it.
            overwrite: whether an existing file may be replaced.

        Raises:
            OutputError: the file exists, or cannot be written.
        """
        onnx, dtypes = self.onnx, dtypes or {}

        def described(tensor, shape):
            dtype = np.dtype(dtypes.get(tensor, np.float32))
            kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
            return onnx.helper.make_tensor_value_info(tensor, kind, list(shape))

        given, made = (
            [described(tensor, shape) for tensor, shape in tensors.items()]
            for tensors in (input, output)
        )
        model = onnx.helper.make_model(
            onnx.helper.make_graph(self.nodes, name, given, made, self.constants),
            ir_version=IR_VERSION,
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
            producer_name="atelier-vision",
            doc_string=description,
        )
        onnx.helper.set_model_props(model, dict(metadata or {}))
        onnx.checker.check_model(model, full_check=True)
        with atomic_path(path, overwrite=overwrite) as temporary:
            temporary.write_bytes(model.SerializeToString())
