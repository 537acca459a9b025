"""Golden numbers of the other systems: which archive is checked by what.

Each module beside holds `ARCHIVES`: by the name of an archive, a function of the opened archive
and the device that gives its findings.
"""

from tests.parity.zoo import flow_nets, ifrnet, pervfi, raft_vfi, rife
from tests.parity.zoo.comparison import Check

ARCHIVES: dict[str, Check] = {
    name: check
    for system in (flow_nets, ifrnet, pervfi, raft_vfi, rife)
    for name, check in system.ARCHIVES.items()
}
