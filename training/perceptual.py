"""Perceptual loss: the distance of two images in the features of VGG19.

After Johnson et al., Perceptual Losses, ECCV 2016, with VGG19 (Simonyan and Zisserman, 2015) and
the layers and weights of the published training of RIFE and PerVFI. Nothing is downloaded: the
recipe names torchvision's weights file.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import VGG19_Weights, vgg19

from sgm_vfi.model.weight_io import load_weights, read_weights

LAYERS = {1: 0.1 / 2.6, 6: 0.1 / 4.8, 11: 0.1 / 3.7, 20: 0.1 / 5.6, 29: 1 / 1.5}  # their weights
COLOUR_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, which the network was trained on
COLOUR_SPREAD = (0.229, 0.224, 0.225)
CLASSIFIER = "classifier."  # the part of the file that is not needed


class PerceptualLoss(nn.Module):
    """Weighted sum of mean absolute differences of features in five layers of VGG19.

    Weights are uninitialised until `load_perceptual` loads them.
    """

    def __init__(self) -> None:
        super().__init__()
        with torch.device("meta"):  # the part that is not needed is half a gigabyte
            features = vgg19(weights=None).features[: max(LAYERS) + 1]
        self.features = features.to_empty(device="cpu").requires_grad_(False)

    def forward(self, picture: Tensor, target: Tensor) -> Tensor:
        """Return the distance, with gradients for `picture` only.

        Shapes: (B, 3, H, W) in [0, 1], twice -> ().
        """
        mean, spread = (
            picture.new_tensor(values).view(3, 1, 1) for values in (COLOUR_MEAN, COLOUR_SPREAD)
        )
        x, y = (picture - mean) / spread, (target.detach() - mean) / spread
        distance = picture.new_zeros(())
        for index, layer in enumerate(self.features):
            x, y = layer(x), layer(y)
            if index in LAYERS:
                distance = distance + LAYERS[index] * (x - y).abs().mean()
        return distance


def load_perceptual(path: Path) -> PerceptualLoss:
    """Load the perceptual loss with torchvision's VGG19 weights.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged or holds other weights.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"No VGG19 at {path} (that is {Path(path).absolute()}). Get "
            f"{VGG19_Weights.IMAGENET1K_V1.url} (548 MB), or leave the perceptual loss out."
        )
    network = PerceptualLoss()
    weights = read_weights(path)
    needed = len(network.features)
    state = {
        name: tensor
        for name, tensor in weights.state.items()
        if not name.startswith(CLASSIFIER) and int(name.split(".")[1]) < needed
    }
    load_weights(network, weights._replace(state=state))
    return network.eval()
