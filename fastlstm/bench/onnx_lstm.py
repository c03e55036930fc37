"""An nn.LSTM as a model for onnxruntime."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

State = tuple[Tensor, Tensor]  # h and c, [layers * directions, B, H] each


class OnnxRuntime(nn.Module):
    """onnxruntime's LSTM operator, one node a layer, inference on as many threads as torch."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        onnxruntime = import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # its threads may spin within a call, not on into the next provider's
        options.add_session_config_entry("session.force_spinning_stop", "1")
        model = _onnx_model(lstm).SerializeToString()
        self.session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        self.states = lstm.num_layers * (2 if lstm.bidirectional else 1), lstm.hidden_size

    def forward(self, x: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """As nn.LSTM's, of padded input `[T, B, I]`."""
        if hx is None:
            zeros = x.new_zeros(self.states[0], x.shape[1], self.states[1])
            hx = zeros, zeros
        feed = {"x": x.numpy(), "h_0": hx[0].numpy(), "c_0": hx[1].numpy()}
        y, h_n, c_n = (torch.from_numpy(array) for array in self.session.run(None, feed))
        return y, (h_n, c_n)


def _onnx_model(lstm: nn.LSTM) -> Any:
    """The stack as an ONNX model: x, h_0, c_0 to y, h_n, c_n; gates in ONNX's order i, o, f, g."""
    onnx = import_module("onnx")
    node, constant = onnx.helper.make_node, onnx.numpy_helper.from_array
    directions, H = 2 if lstm.bidirectional else 1, lstm.hidden_size
    weights, nodes, x = [], [], "x"
    split = [directions] * lstm.num_layers
    weights.append(constant(torch.tensor(split).numpy(), "split"))
    weights.append(constant(torch.tensor([0, 0, -1]).numpy(), "joined"))
    for state in ("h_0", "c_0"):
        parts = [f"{state}_{layer}" for layer in range(lstm.num_layers)]
        nodes.append(node("Split", [state, "split"], parts, axis=0))
    for layer in range(lstm.num_layers):
        for name, parts in _onnx_weights(lstm, layer).items():
            weights.append(constant(parts, f"{name}{layer}"))
        inputs = [x, *(f"{n}{layer}" for n in "WRB"), "", f"h_0_{layer}", f"c_0_{layer}"]
        outputs = [f"y_{layer}", f"h_n_{layer}", f"c_n_{layer}"]
        direction = "bidirectional" if directions == 2 else "forward"
        nodes.append(node("LSTM", inputs, outputs, hidden_size=H, direction=direction))
        # [T, D, B, H] to [T, B, D * H]
        nodes.append(node("Transpose", [f"y_{layer}"], [f"t_{layer}"], perm=[0, 2, 1, 3]))
        x = "y" if layer == lstm.num_layers - 1 else f"x_{layer + 1}"
        nodes.append(node("Reshape", [f"t_{layer}", "joined"], [x]))
    for state in ("h_n", "c_n"):
        parts = [f"{state}_{layer}" for layer in range(lstm.num_layers)]
        nodes.append(node("Concat", parts, [state], axis=0))
    ends = [
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 3) for name in n]
        for n in (("x", "h_0", "c_0"), ("y", "h_n", "c_n"))
    ]
    graph = onnx.helper.make_graph(nodes, "lstm", *ends, weights)
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)


def _onnx_weights(lstm: nn.LSTM, layer: int) -> dict[str, Any]:
    """ONNX's W `[D, 4H, K]`, R `[D, 4H, H]` and B `[D, 8H]` of a layer."""

    def reorder(weight: Tensor) -> Tensor:
        i, f, g, o = weight.detach().chunk(4)
        return torch.cat([i, o, f, g])

    suffixes = [f"_l{layer}", f"_l{layer}_reverse"][: 2 if lstm.bidirectional else 1]

    def stack(name: str) -> Tensor:
        return torch.stack([reorder(getattr(lstm, name + suffix)) for suffix in suffixes])

    bias = torch.cat([stack("bias_ih"), stack("bias_hh")], dim=1)
    return {"W": stack("weight_ih").numpy(), "R": stack("weight_hh").numpy(), "B": bias.numpy()}
