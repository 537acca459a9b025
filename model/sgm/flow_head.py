"""Step 0 of SGM-VFI: heads that estimate and correct the motion, and their inputs."""

from torch import Tensor, nn

from sgm_vfi.model.layers.conv import conv_prelu
from sgm_vfi.model.ops.cat_channels import cat_channels
from sgm_vfi.model.ops.resize import resize, resize_flow


class FlowHead(nn.Module):
    """Convolutions that estimate two flows and a blend mask at reduced size.

    As published, the output layer also ends in a PReLU.

    Shapes: (B, in_channels, h, w) -> (B, 5, h, w): flow towards frame 0 and frame 1 in pixels of
    that size, logits of the blend mask.
    """

    def __init__(self, in_channels: int, channels: int = 128, residual_convs: int = 2) -> None:
        super().__init__()
        self.head = nn.Sequential(conv_prelu(in_channels, channels), conv_prelu(channels, channels))
        self.residual = nn.Sequential(
            *(conv_prelu(channels, channels) for _ in range(residual_convs))
        )
        self.output = conv_prelu(channels, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Estimate both flows and the blend logits."""
        x = self.head(x)
        return self.output(x + self.residual(x))


def expand_motion(raw: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """Resize the output of a head from 1/scale to full size.

    Shapes: raw (B, 5, h, w) -> flow (B, 4, scale * h, scale * w), blend logits (B, 1, ...).
    """
    return resize_flow(raw[:, :4], scale), resize(raw[:, 4:], scale)


def coarse_input(frames: Tensor, time: Tensor, features: Tensor) -> Tensor:
    """Concatenate the inputs of the head at 1/8; both frames are on the batch axis.

    Shapes: frames (2B, 3, H, W), time (B, 1, 1, 1), features (2B, 8F, h, w)
    -> (B, 7 + 16F, h, w).
    """
    small = resize(frames, 1 / 8)
    plane = time.expand(-1, 1, *small.shape[-2:])
    return cat_channels((*small.chunk(2), plane, *features.chunk(2)))


def fine_input(
    frames: Tensor,
    warped: Tensor,
    flow: Tensor,
    blend_logits: Tensor,
    time: Tensor,
    features: Tensor,
) -> Tensor:
    """Concatenate the inputs of the head at 1/4; both frames are on the batch axis.

    Shapes: frames, warped (2B, 3, H, W), flow (B, 4, H, W), blend_logits (B, 1, H, W),
    time (B, 1, 1, 1), features (2B, 4F, H/4, W/4) -> (B, 18 + 8F, H/4, W/4).
    """
    mask = resize(blend_logits, 1 / 4)
    return cat_channels(
        (
            *resize(frames, 1 / 4).chunk(2),
            *resize(warped, 1 / 4).chunk(2),
            mask,
            time.expand(-1, 1, *mask.shape[-2:]),
            resize_flow(flow, 1 / 4),
            *features.chunk(2),
        )
    )
