"""A network for LiteRT, written operation by operation, without TensorFlow and its converter.

The format is TFLite's schema (tensorflow/lite/schema/schema.fbs), whose classes come with `ai-edge-litert`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

VERSION = 3  # of the schema
ALIGNMENT = 16  # bytes, of the numbers in the file, as the schema asks
CODES, KINDS = schema.BuiltinOperator, schema.BuiltinOptions


@dataclass(frozen=True)
class Tensor:
    """One tensor of a graph.

    Attributes:
        number: its place among them.
        shape: of images [batch, height, width, channels], of features [batch, width].
    """

    number: int
    shape: tuple[int, ...]


class Graph:
    """Operations in the order in which they are run; each method adds one and gives its result.

    Attributes:
        image: what goes in, float32 [batch, size, size, 3].
    """

    def __init__(self, batch: int, size: int) -> None:
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._buffers = [_numbers(None)]  # by the schema the first one is empty
        self._codes: list[int] = []
        self.image = self._result((batch, size, size, 3))

    def scale(self, x: Tensor, factor: float, offset: float) -> Tensor:
        """x * factor + offset."""
        steps = ((CODES.MUL, KINDS.MulOptions, schema.MulOptionsT, factor),
                 (CODES.ADD, KINDS.AddOptions, schema.AddOptionsT, offset))  # fmt: skip
        for code, kind, options, number in steps:
            constant = self._constant(np.array(number, np.float32))
            x = self._operation(code, (x, constant), x.shape, kind, options())
        return x

    def resize(self, x: Tensor, size: int) -> Tensor:
        """To so many pixels each way, bilinear, as Keras' `Resizing` does."""
        options = schema.ResizeBilinearOptionsT()
        options.halfPixelCenters = True
        to, shape = self._constant(np.array([size, size], np.int32)), (x.shape[0], size, size, x.shape[3])
        return self._operation(CODES.RESIZE_BILINEAR, (x, to), shape, KINDS.ResizeBilinearOptions, options)

    def convolution(
        self, x: Tensor, kernel: np.ndarray, bias: np.ndarray, stride: int = 1, relu6: bool = False
    ) -> Tensor:
        """With "same" padding.

        Args:
            x: [batch, height, width, channels].
            kernel: float32 [filters, height, width, channels].
            bias: float32 [filters].
            stride: pixels each way.
            relu6: clip the result to 0..6.
        """
        options = _strides(schema.Conv2DOptionsT(), stride)
        return self._convolution(CODES.CONV_2D, KINDS.Conv2DOptions, options, x, kernel, bias, relu6)

    def depthwise(
        self, x: Tensor, kernel: np.ndarray, bias: np.ndarray, stride: int = 1, relu6: bool = False
    ) -> Tensor:
        """Each channel on its own; as `convolution`, with a kernel [1, height, width, channels]."""
        options = _strides(schema.DepthwiseConv2DOptionsT(), stride)
        options.depthMultiplier = 1
        kind = KINDS.DepthwiseConv2DOptions
        return self._convolution(CODES.DEPTHWISE_CONV_2D, kind, options, x, kernel, bias, relu6)

    def _convolution(
        self, code: int, kind: int, options: Any, x: Tensor, kernel: np.ndarray, bias: np.ndarray, relu6: bool
    ) -> Tensor:
        options.dilationWFactor = options.dilationHFactor = 1
        activations = schema.ActivationFunctionType
        options.fusedActivationFunction = activations.RELU6 if relu6 else activations.NONE
        side = -(-x.shape[1] // options.strideH)
        shape = (x.shape[0], side, side, len(bias))
        return self._operation(code, (x, self._constant(kernel), self._constant(bias)), shape, kind, options)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """x + y, of one shape."""
        return self._operation(CODES.ADD, (x, y), x.shape, KINDS.AddOptions, schema.AddOptionsT())

    def average(self, x: Tensor) -> Tensor:
        """Over the whole picture: [batch, channels]."""
        axes = self._constant(np.array([1, 2], np.int32))
        options = schema.ReducerOptionsT()
        shape = (x.shape[0], x.shape[3])
        return self._operation(CODES.MEAN, (x, axes), shape, KINDS.ReducerOptions, options)

    def cells(self, x: Tensor, most: int) -> Tensor:
        """Averages over the cells of a grid of at most `most` cells each way: [batch, cells * channels]."""
        window = -(-x.shape[1] // most)
        options = _strides(schema.Pool2DOptionsT(), window)
        options.filterWidth = options.filterHeight = window
        side = -(-x.shape[1] // window)
        shape = (x.shape[0], side, side, x.shape[3])
        grid = self._operation(CODES.AVERAGE_POOL_2D, (x,), shape, KINDS.Pool2DOptions, options)
        flat = (x.shape[0], side * side * x.shape[3])
        return self._operation(CODES.RESHAPE, (grid, self._constant(np.array(flat, np.int32))), flat)

    def content(self, outputs: Sequence[Tensor]) -> bytes:
        """The file, with these outputs, called Identity, Identity_1 ... as TensorFlow's converter does."""
        for number, output in enumerate(outputs):
            self._graph.tensors[output.number].name = f"Identity_{number}" if number else "Identity"
        self._graph.inputs = [self.image.number]
        self._graph.outputs = [output.number for output in outputs]
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = VERSION, [self._graph], self._buffers
        model.operatorCodes = [_operator_code(code) for code in self._codes]
        builder = flatbuffers.Builder(sum(len(each.data) for each in self._buffers if each.data is not None))
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _constant(self, values: np.ndarray) -> Tensor:
        self._buffers.append(_numbers(values))
        return self._tensor(values.shape, values.dtype, len(self._buffers) - 1)

    def _result(self, shape: tuple[int, ...]) -> Tensor:
        return self._tensor(shape, np.dtype(np.float32), 0)

    def _tensor(self, shape: tuple[int, ...], dtype: np.dtype, buffer: int) -> Tensor:
        tensor = schema.TensorT()
        tensor.shape, tensor.buffer = list(shape), buffer
        tensor.type = schema.TensorType.INT32 if dtype == np.int32 else schema.TensorType.FLOAT32
        self._graph.tensors.append(tensor)
        return Tensor(len(self._graph.tensors) - 1, shape)

    def _operation(
        self, code: int, inputs: Sequence[Tensor], shape: tuple[int, ...], kind: int = 0, options: Any = None
    ) -> Tensor:
        if code not in self._codes:
            self._codes.append(code)
        result, operator = self._result(shape), schema.OperatorT()
        operator.opcodeIndex = self._codes.index(code)
        operator.inputs, operator.outputs = [each.number for each in inputs], [result.number]
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self._graph.operators.append(operator)
        return result


def _strides(options: Any, stride: int) -> Any:
    """Options with "same" padding and a stride both ways."""
    options.padding = schema.Padding.SAME
    options.strideW = options.strideH = stride
    return options


def _operator_code(code: int) -> Any:
    operator_code = schema.OperatorCodeT()
    operator_code.builtinCode = operator_code.deprecatedBuiltinCode = code
    operator_code.version = 1
    return operator_code


class _Buffer(schema.BufferT):
    """Numbers in the file, aligned, which the generated class does not see to."""

    def Pack(self, builder: flatbuffers.Builder) -> int:
        if self.data is not None:
            builder.Prep(ALIGNMENT, len(self.data))
        return super().Pack(builder)


def _numbers(values: np.ndarray | None) -> _Buffer:
    buffer = _Buffer()
    if values is not None:
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    return buffer
