"""Train the local branch: stage 1.

python train_base.py --data_path vimeo_triplet
torchrun --nproc_per_node=4 train_base.py --batch_size 8 --data_path vimeo_triplet
python train_base.py --config smoke                     # does everything once, in a minute
"""

import sgm_vfi.startup  # noqa: F401 - before PyTorch
from sgm_vfi.config_base import EXPERIMENTS, FLAGS
from sgm_vfi.engine.training_command_line import launch
from sgm_vfi.Trainer_base import Trainer

if __name__ == "__main__":
    launch(Trainer, EXPERIMENTS, FLAGS, __doc__)
