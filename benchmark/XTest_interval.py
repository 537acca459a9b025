"""SGM-VFI's command for XTest-L at 2K and 4K, as published.

python benchmark/XTest_interval.py --path XTest --exp_name ours-1-2-points --num_key_points 0.5
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # where the package sgm_vfi is

    from sgm_vfi.benchmark.__main__ import run_published_command

    sys.exit(run_published_command(__doc__, ("xtest-l-2k", "xtest-l-4k")))
