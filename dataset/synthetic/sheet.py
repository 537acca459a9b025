"""Pictures of synthetic scenes, to see what a network would learn from."""

import cv2
import numpy as np
import torch
from torch import Tensor

from dataset.synthetic.scene import SceneMaker


def contact_sheet(maker: SceneMaker, scenes: int, seed: int) -> Tensor:
    """One scene per row: frame 0, target, frame 1, flow 0 -> 1 and, white, what stays visible.

    Shapes: -> (3, scenes * H, 5 * W).
    """
    rows = []
    for number in range(scenes):
        triplet = maker.draw([(seed, number)]).triplet(truth=True)
        frames = triplet.frame0, triplet.target, triplet.frame1
        seen = triplet.truth.visible_01.expand_as(triplet.frame0)
        rows.append(torch.cat((*frames, flow_picture(triplet.truth.flow_01), seen), dim=-1)[0])
    return torch.cat(rows, dim=-2).cpu()


def flow_picture(flow: Tensor) -> Tensor:
    """Direction as hue and length as brightness, the longest vector at full brightness.

    Shapes: (1, 2, H, W) -> (1, 3, H, W).
    """
    length, angle = cv2.cartToPolar(*flow[0].cpu().numpy(), angleInDegrees=True)
    brightness = length / max(length.max(), 1e-6)
    colour = cv2.cvtColor(
        np.stack((angle, np.ones_like(angle), brightness), axis=-1), cv2.COLOR_HSV2RGB
    )
    return torch.from_numpy(colour).movedim(-1, 0)[None].to(flow.device)
