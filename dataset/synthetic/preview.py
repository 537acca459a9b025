"""Pictures of synthetic scenes, to see what a network would learn from."""

from torch import Tensor

from sgm_vfi.dataset.synthetic.renderer import SceneGenerator
from sgm_vfi.media.visualise import Picture, flow_to_image, make_grid, measure_flow_range


def render_contact_sheet(maker: SceneGenerator, scenes: int, seed: int) -> Tensor:
    """One scene per row: the three frames, the flow from 0 to 1, and what stays visible (white).

    Shapes: -> (3, h, w), on the CPU.
    """
    pictures = []
    for number in range(scenes):
        triplet = maker.draw([(seed, number)]).triplet(truth=True)
        flow, visible = triplet.truth.flow_01[0].cpu(), triplet.truth.visible_01[0].cpu()
        largest = measure_flow_range(flow)
        pictures += [
            Picture(f"scene {number}: frame 0", triplet.frame0[0]),
            Picture(f"time {triplet.time.item():.2f}", triplet.target[0]),
            Picture("frame 1", triplet.frame1[0]),
            Picture("true flow 0 to 1", flow_to_image(flow, largest), largest),
            Picture("visible in frame 1", visible.expand(3, -1, -1)),
        ]
    return make_grid(pictures, columns=5, width=1600)
