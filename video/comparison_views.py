"""Pictures to judge a result by, frame for frame, as a video of their own."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.media.visualise import (
    EXPLANATIONS,
    GAP,
    Picture,
    add_label,
    make_grid,
    measure_explanation_range,
    visualise_explanation,
)

CompareLayout = Literal["side", "split"]
REPEATED = ("frames repeated", "interpolated")  # labels of a comparison with the source
LINE = 2  # pixels between the halves of a split picture
COLUMNS = 4  # of the grid
FADES = 0.95  # what is left after a frame of the scale that flows are coloured by
EMPTY = 0.9  # grey of a picture that a frame has none of


def compare(
    repeated: Tensor,
    frame: Tensor,
    labels: tuple[str, str] = REPEATED,
    layout: CompareLayout = "side",
) -> Tensor:
    """Set the result against what the source shows at that time, or against another result.

    Args:
        repeated: the last frame of the source, or the frame of another network.
        layout: `side`: both beside each other, twice as wide; `split`: the left half of one and
            the right half of the other, with a line between.

    Shapes: (1, 3, H, W), twice -> (1, 3, h, w), h and w even, on the CPU.
    """
    if layout not in get_args(CompareLayout):
        raise ValueError(
            f"The layout is one of {', '.join(get_args(CompareLayout))}, got {layout!r}."
        )
    before, after = repeated[0].float().cpu(), frame[0].float().cpu()
    if layout == "side":
        parts = [add_label(before, labels[0]), add_label(after, labels[1])]
    else:
        half = before.shape[-1] // 2
        line = torch.ones(3, before.shape[1], LINE)
        parts = [
            add_label(before[..., : half - LINE // 2], labels[0]),
            line,
            add_label(after[..., half + LINE // 2 :], labels[1], at_right=True),
        ]
    return even(torch.cat(parts, dim=-1)[None])


class ExplainView:
    """How each new frame came about: the frames, the result, and the network's steps, in a grid.

    All panels of a video are of one size, and its flows are coloured by one scale, which follows
    the longest motion at once and fades slowly. With a frame that the network did not make, the
    steps of the last one that it made stay, or the video would flicker.

    Args:
        names: of the explanations that the network gives, as in `Interpolation`.
        width: of a panel, in pixels, about.
    """

    def __init__(self, names: Sequence[str], width: int = 1920) -> None:
        unknown = set(names) - EXPLANATIONS.keys()
        if unknown:
            raise ValueError(
                f"Explanations are {', '.join(EXPLANATIONS)}; got {', '.join(sorted(unknown))}."
            )
        self.names = sorted(names, key=list(EXPLANATIONS).index)
        self.width = width
        self._largest = 1.0
        self._steps: list[Picture] = []  # of the last frame that the network made

    def panel(
        self,
        frame0: Tensor,
        frame1: Tensor,
        frame: Tensor,
        caption: str,
        notes: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """One panel.

        Args:
            caption: of the result, such as its time.
            notes: `Interpolation.explanation`; None where the frame was not made by the network.

        Shapes: frames (1, 3, H, W) -> (1, 3, h, w), h and w even, on the CPU.
        """
        frame0, frame1, frame = (self._small(part) for part in (frame0, frame1, frame))
        if notes is not None:
            kept = {name: self._small(notes[name][:, :2], name) for name in self.names}
            self._largest = max(measure_explanation_range(kept), FADES * self._largest)
            self._steps = visualise_explanation(kept, frame0, self._largest)
        blank = torch.full_like(frame0, EMPTY)
        steps = self._steps or [Picture(EXPLANATIONS[name][0], blank) for name in self.names]
        pictures = [
            Picture("frame 0", frame0),
            Picture("frame 1", frame1),
            Picture("average of both frames", (frame0 + frame1) / 2),
            Picture(caption, frame),
            *steps,
        ]
        return even(make_grid(pictures, COLUMNS, self.width)[None])

    def _small(self, picture: Tensor, name: str = "") -> Tensor:
        """At the size of the grid's cells; flows in pixels of the frames, as they were.

        Shapes: (1, C, H, W) -> (C, h, w), on the CPU.
        """
        height, width = picture.shape[-2:]
        cell = (self.width - GAP * (COLUMNS - 1)) // COLUMNS
        picture = picture.float()
        if cell < width:
            size = (max(round(height * cell / width), 1), cell)
            is_sparse = name == "keypoints"
            reduce = F.adaptive_max_pool2d if is_sparse else F.adaptive_avg_pool2d
            picture = reduce(picture, size)
        return picture[0].cpu()


def even(picture: Tensor) -> Tensor:
    """Repeat the last row and column where sides are odd: codecs halve the colours' size.

    Shapes: (1, 3, H, W) -> the same, or one more.
    """
    height, width = picture.shape[-2:]
    return F.pad(picture, (0, width % 2, 0, height % 2), mode="replicate")
