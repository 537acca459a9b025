"""Linear layer by oneDNN on the CPU."""

from torch import Tensor, nn

from sgm_vfi.model.ops.onednn_linear import linear


class Linear(nn.Linear):
    """`nn.Linear` with the product of `ops.onednn_linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (..., in_features) -> (..., out_features)."""
        return linear(x, self.weight, self.bias)
