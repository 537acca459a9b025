"""The loss between a predicted frame and the true one, as a recipe names it in `training.loss`.

A loss is a weighted sum of terms: `laplacian`, `l1+0.1*census`, `l1+my_loss.py:edges`. A term
is a name of `TERMS`, or a function of the user, `module:function` or `file.py:function`,
that takes the prediction and the target, (B, 3, H, W) in [0, 1], and returns a tensor ().
"""

from collections.abc import Callable
from difflib import get_close_matches
from typing import TypeAlias

import torch
from torch import Tensor

from sgm_vfi.model.import_by_name import import_reference, is_reference
from sgm_vfi.model.weight_search import find_file, weights_folders
from sgm_vfi.training.loss_functions import census_loss, charbonnier, laplacian_loss

FrameLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # prediction, target -> ()
PERCEPTUAL = "perceptual"
CENSUS_PATCH = 7  # pixels


def l1_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference. Shapes: (B, 3, H, W) twice -> ()."""
    return (prediction - target).abs().mean()


def charbonnier_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Charbonnier penalty of the difference. Shapes: (B, 3, H, W) twice -> ()."""
    return charbonnier(prediction - target)


def grey_census_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Census loss of grey frames, over 7 x 7 pixels. Shapes: (B, 3, H, W) twice -> ()."""
    grey, true_grey = (frame.mean(dim=1, keepdim=True) for frame in (prediction, target))
    return census_loss(grey, true_grey, patch=CENSUS_PATCH, border=CENSUS_PATCH // 2)


TERMS: dict[str, FrameLoss] = {
    "l1": l1_loss,
    "laplacian": laplacian_loss,
    "charbonnier": charbonnier_loss,
    "census": grey_census_loss,
}


def build_frame_loss(text: str, device: torch.device | str = "cpu") -> FrameLoss:
    """Build the loss that a text names.

    Raises:
        ValueError: a term or a weight is not valid.
        FileNotFoundError: the perceptual term lacks its weights.
    """
    terms = [(weight, _find_term(name, device)) for weight, name in parse_terms(text)]
    if terms[0][0] == 1 and len(terms) == 1:
        return terms[0][1]
    return lambda prediction, target: torch.stack(
        [weight * term(prediction, target) for weight, term in terms]
    ).sum()


def parse_terms(text: str) -> list[tuple[float, str]]:
    """Split a weighted sum into weights and names; raise ValueError where it is none."""
    terms = []
    for part in text.split("+"):
        weight, star, name = part.rpartition("*")
        try:
            terms.append((float(weight) if star else 1.0, name.strip()))
        except ValueError as error:
            raise ValueError(
                f"training.loss is a weighted sum such as laplacian+0.1*census, got {text!r}: "
                f"{weight!r} is no number."
            ) from error
    return terms


def _find_term(name: str, device: torch.device | str) -> FrameLoss:
    if name in TERMS:
        return TERMS[name]
    if name == PERCEPTUAL:
        from torchvision.models import VGG19_Weights  # torchvision is slow to import

        from sgm_vfi.training.perceptual import load_perceptual

        url = VGG19_Weights.IMAGENET1K_V1.url
        path = find_file(
            [folder / url.rpartition("/")[2] for folder in weights_folders()],
            "weights of VGG19 for the perceptual loss",
            f"Get {url} (548 MB).",
        )
        return load_perceptual(path).to(device)
    if is_reference(name):
        return _checked(name)
    close = get_close_matches(name, (*TERMS, PERCEPTUAL))
    hint = f"Did you mean {close[0]}? " if close else ""
    raise ValueError(
        f"There is no loss {name!r}. {hint}Known: {', '.join((*TERMS, PERCEPTUAL))}, or a function "
        f"of yours, file.py:function."
    )


def _checked(reference: str) -> FrameLoss:
    """Import a function of the user, and check what it returns at its first call."""
    function = import_reference(reference)
    if not callable(function):
        raise ValueError(f"{reference} is {function!r}, expected a function.")

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        """Return the value of the function, which must be one number."""
        value = function(prediction, target)
        if not isinstance(value, Tensor) or value.ndim:
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
            raise ValueError(f"{reference} returned {got}, expected a tensor of shape ().")
        return value

    return loss
