"""Published values, by model, with where they were published.

Of SGM-VFI's own tables nothing is here yet: copy values from the paper, and name the table.
"""

from collections.abc import Mapping
from typing import NamedTuple

IFRNET_TABLE = "IFRNet, CVPR 2022, table of results"
RIFE_PAGE = "RIFE's project page"
RIFE_PAPER = "RIFE's paper, as a second source quotes it"
RAFT_VFI_PAGE = "its ModelScope page: from four frames each, of lists that are not public"
PERVFI_LISTED = "PerVFI's paper, as later listings quote it"
RIFE_BY_IFRNET = "measured by IFRNet's authors: IFRNet, CVPR 2022, table of results"


class PublishedValues(NamedTuple):
    """Published values of one model under one protocol."""

    where: str
    values: Mapping[str, float]  # by metric


def scored(where: str, psnr: float, ssim: float, **others: float) -> PublishedValues:
    """Build published values from PSNR, SSIM and other metrics."""
    return PublishedValues(where, {"psnr": psnr, "ssim": ssim, **others})


VIMEO90K_EXACT = {
    "IFRNet": scored(IFRNET_TABLE, 35.80, 0.9794),
    "IFRNet-S": scored(IFRNET_TABLE, 35.59, 0.9786),
    "IFRNet-L": scored(IFRNET_TABLE, 36.20, 0.9808),
}
UCF101_EXACT = {
    "IFRNet": scored(IFRNET_TABLE, 35.29, 0.9693),
    "IFRNet-S": scored(IFRNET_TABLE, 35.28, 0.9691),
    "IFRNet-L": scored(IFRNET_TABLE, 35.42, 0.9698),
    "RAFT-VFI practical": scored(RAFT_VFI_PAGE, 32.37, 0.966),
    "RAFT-VFI original": scored(RAFT_VFI_PAGE, 32.66, 0.967),
}
VIMEO90K_ROUNDED = {
    "RIFE": scored(RIFE_PAGE, 35.615, 0.9779),
    "RIFE-Large": PublishedValues(RIFE_PAPER, {"psnr": 36.19}),
}
VIMEO90K_TRUNCATED = {"PerVFI": PublishedValues(PERVFI_LISTED, {"psnr": 33.89})}
UCF101_ROUNDED = {
    "RIFE": scored(RIFE_PAGE, 35.282, 0.9688),
    "RIFE-Large": PublishedValues(RIFE_PAPER, {"psnr": 35.41}),
}
MIDDLEBURY = {
    "IFRNet": scored(IFRNET_TABLE, 37.50, 0.9861, ie=1.946),
    "IFRNet-S": scored(IFRNET_TABLE, 37.24, 0.9851, ie=1.995),
    "IFRNet-L": scored(IFRNET_TABLE, 38.18, 0.9875, ie=1.846),
    "RIFE": PublishedValues(RIFE_PAGE, {"ie": 1.956}),
    "RIFE-Large": PublishedValues(RIFE_PAPER, {"ie": 1.94}),
    "RAFT-VFI practical": scored(RAFT_VFI_PAGE, 34.44, 0.971),
    "RAFT-VFI original": scored(RAFT_VFI_PAGE, 35.34, 0.975),
}
GOPRO_8X = {"IFRNet": scored(IFRNET_TABLE, 29.84, 0.920)}
SNU_FILM = {
    "easy": {
        "IFRNet": scored(IFRNET_TABLE, 40.03, 0.9905),
        "IFRNet-S": scored(IFRNET_TABLE, 39.96, 0.9905),
        "IFRNet-L": scored(IFRNET_TABLE, 40.10, 0.9906),
        "RIFE": scored(RIFE_BY_IFRNET, 40.06, 0.9907),
    },
    "medium": {
        "IFRNet": scored(IFRNET_TABLE, 35.94, 0.9793),
        "IFRNet-S": scored(IFRNET_TABLE, 35.92, 0.9792),
        "IFRNet-L": scored(IFRNET_TABLE, 36.12, 0.9797),
        "RIFE": scored(RIFE_BY_IFRNET, 35.75, 0.9789),
    },
    "hard": {
        "IFRNet": scored(IFRNET_TABLE, 30.41, 0.9358),
        "IFRNet-S": scored(IFRNET_TABLE, 30.36, 0.9357),
        "IFRNet-L": scored(IFRNET_TABLE, 30.63, 0.9368),
        "RIFE": scored(RIFE_BY_IFRNET, 30.10, 0.9330),
    },
    "extreme": {
        "IFRNet": scored(IFRNET_TABLE, 25.05, 0.8587),
        "IFRNet-S": scored(IFRNET_TABLE, 25.05, 0.8582),
        "IFRNet-L": scored(IFRNET_TABLE, 25.27, 0.8609),
        "RIFE": scored(RIFE_BY_IFRNET, 24.84, 0.8534),
    },
}
