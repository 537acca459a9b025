"""Golden numbers of the other systems: which archive is checked by what.

Each module beside holds `ARCHIVES`: by the name of an archive, a function of the opened archive
and the device that gives its findings.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch

from tests.parity.finding import Finding

Check = Callable[[Mapping[str, np.ndarray], torch.device], Iterator[Finding]]
ARCHIVES: dict[str, Check] = {}
