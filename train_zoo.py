"""Train one of the other networks, so that all of them can be compared on equal terms.

python train_zoo.py --config rife --data_path vimeo_triplet
torchrun --nproc_per_node=4 train_zoo.py --config rife_m --data_path vimeo_septuplet
python train_zoo.py --config ifrnet_gopro --data_path gopro_large_all
python train_zoo.py --config rife --synthetic           # on scenes made here
python train_zoo.py --config ifrnet --synthetic --set data.truth=true
python train_zoo.py --config smoke-rife                 # does everything once, in a minute
"""

from sgm_vfi.engine.launch import launch
from sgm_vfi.training.zoo import ZooTrainer
from sgm_vfi.training.zoo_recipes import EXPERIMENTS, FLAGS

if __name__ == "__main__":
    launch(ZooTrainer, EXPERIMENTS, FLAGS, __doc__)
