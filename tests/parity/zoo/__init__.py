"""Golden numbers of the other systems: which archive is checked by what.

Each module beside holds `ARCHIVES`: by the name of an archive, a function of the opened archive
and the device that gives its findings.
"""

from tests.parity.zoo import flow_nets, ifrnet, raftvfi
from tests.parity.zoo.comparison import Check

ARCHIVES: dict[str, Check] = {**flow_nets.ARCHIVES, **ifrnet.ARCHIVES, **raftvfi.ARCHIVES}
