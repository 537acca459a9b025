"""Golden numbers of RIFE, IFRNet, PerVFI, RAFT-VFI and the optical flow networks.

Every `check_*` module defines `ARCHIVES`, which maps the name of an archive to a function that
takes the opened archive and a device, and yields findings.
"""

from tests.parity.zoo import (
    check_flow_networks,
    check_ifrnet,
    check_pervfi,
    check_raft_vfi,
    check_rife,
)
from tests.parity.zoo.compare_archive import Check

ARCHIVES: dict[str, Check] = {
    name: check
    for module in (check_flow_networks, check_ifrnet, check_pervfi, check_raft_vfi, check_rife)
    for name, check in module.ARCHIVES.items()
}
