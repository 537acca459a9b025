"""Train sparse global matching on top of the local branch: stage 2.

python train_x4k.py --train_data_path X4K1000FPS/train --val_data_path X4K1000FPS/val
torchrun --nproc_per_node=4 train_x4k.py --batch_size 8 --need_patch --train_data_path ...
python train_x4k.py --config smoke                      # does everything once, in a minute
"""

import sgm_vfi.startup  # noqa: F401 - before PyTorch
from sgm_vfi.config import EXPERIMENTS, FLAGS
from sgm_vfi.engine.training_command_line import launch
from sgm_vfi.Trainer_x4k import X4KTrainer

if __name__ == "__main__":
    launch(X4KTrainer, EXPERIMENTS, FLAGS, __doc__)
