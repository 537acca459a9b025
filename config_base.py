"""The parts of a recipe, and the recipes of stage 1, the local branch of SGM-VFI."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sgm_vfi.dataset.data_config_and_loaders import DataConfig
from sgm_vfi.dataset.synthetic import SyntheticConfig
from sgm_vfi.model.sgm.network import SGM_BASE, SGM_SMALL, SGMConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of training; defaults are the published values where they exist.

    Rates and batch sizes are per process unless stated otherwise; a run logs the totals first.
    """

    epochs: int = 300
    steps: int | None = None  # instead of epochs
    minutes: float | None = None  # instead of both: schedules fall over the time there is
    batch_size: int = 8  # per process; the paper used 4 processes
    accumulate: int = 1  # batches that share one step
    schedule: Literal["warmup_cosine", "one_cycle"] = "warmup_cosine"  # engine/schedule.py
    learning_rate: float = 2e-4  # the highest
    final_learning_rate: float = 2e-5  # of warmup_cosine, as are its warm-up's steps
    warmup_steps: int = 2000
    reference_batch_size: int | None = None  # rates are for this global batch; None: for any
    weight_decay: float = 1e-4  # of every weight, biases and slopes too
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float | None = None  # largest norm of a step's gradient
    ema_decay: float | None = None  # of an average of the weights (EMA), which is then kept
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    compile: bool = False  # convolutions and attention, by torch.compile
    data_dependent_init: bool = False  # of fresh weights: training/sgm_data_dependent_init.py
    loss: str | None = None  # of a frame: training/loss_from_recipe.py; None: that of the network
    motion_loss: float = 0.0  # weight of motion supervision of flows, per pixel of error,
    attention_loss: float = 0.0  # and of attention, per nat: training/motion_supervision.py;
    motion_until: float = 1.0  # both decay linearly to zero at this fraction of the run
    scales: tuple[float, ...] = (1.0,)  # of training batches in stage 2,
    scale_probabilities: tuple[float, ...] = (1.0,)  # drawn equally in all processes
    freeze_local_branch: bool = True  # in stage 2, as published
    seed: int = 1234
    max_skipped: int = 20  # steps in a row that may be skipped because a gradient is not finite

    validate_first: bool = False
    validate_every: int = 3  # epochs
    val_batch_size: int = 8
    save_every: int = 1000  # steps
    log_every: int = 20
    panel_every: int = 500

    def __post_init__(self) -> None:
        if len(self.scales) != len(self.scale_probabilities):
            raise ValueError(
                f"training.scales and training.scale_probabilities need the same length, got "
                f"{self.scales} and {self.scale_probabilities}."
            )
        counts = (
            *("epochs", "steps", "batch_size", "val_batch_size", "accumulate"),
            *("log_every", "save_every", "validate_every", "panel_every"),
        )
        for name in counts:
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"training.{name} is at least 1, got {getattr(self, name)}.")
        for name in ("minutes", "motion_until"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise ValueError(f"training.{name} is more than 0, got {getattr(self, name):g}.")

    def samples_per_step(self, processes: int) -> int:
        """Return the samples of a step over all processes."""
        return self.batch_size * self.accumulate * processes

    def total_steps(self, batches: int) -> int:
        """Return the steps of a run, given the batches of an epoch in each process."""
        if batches < self.accumulate:
            raise ValueError(
                f"An epoch has {batches} batches, training.accumulate asks for {self.accumulate}."
            )
        return self.steps or self.epochs * (batches // self.accumulate)

    def optimiser(self) -> dict[str, Any]:
        """Return the arguments of the optimiser."""
        names = ("betas", "weight_decay", "clip_norm", "ema_decay")
        return {name: getattr(self, name) for name in names}

    def motion_weight(self, progress: float) -> float:
        """Return the decay of motion supervision, from 1 to 0, at a fraction of the run."""
        return max(0.0, 1 - progress / self.motion_until)

    def summary(self, processes: int) -> str:
        """Describe batch sizes and learning rate for the log."""
        scaled = (
            f"for {self.reference_batch_size} samples"
            if self.reference_batch_size
            else "not scaled"
        )
        bound = f", as many as {self.minutes:g} minutes allow" if self.minutes else ""
        return (
            f"{self.samples_per_step(processes)} samples a step (batches of {self.batch_size}, "
            f"{self.accumulate} in each of {processes} process(es)), learning rate "
            f"{self.learning_rate:g}, {scaled}{bound}"
        )


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """Shape of the feature network for global matching."""

    num_layers: int = 6  # of its transformer


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A recipe: network, data, training settings and start weights."""

    name: str  # of the folder in log/
    model: Any = SGM_SMALL  # the config dataclass of the network
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    start_from: str | None = None  # a zoo name, an experiment or a file; None: fresh weights
    features: str | None = None  # for global matching, likewise; None: published, or else our own
    allow_random_features: bool = False  # train on meaningless matches: to try things out

    def __post_init__(self) -> None:
        if getattr(self.model, "any_time", self.data.any_time) != self.data.any_time:
            raise ValueError(
                f"Times must agree: model.any_time is {self.model.any_time}, data.any_time is "
                f"{self.data.any_time}. Set both."
            )
        weights = {name: getattr(self.training, name) for name in ("motion_loss", "attention_loss")}
        if any(weights.values()) and not self.data.truth:
            raise ValueError(
                f"Motion supervision needs data.truth=true, got false with {weights}. Add "
                f"--set data.truth=true."
            )


LOCAL_SMALL = Experiment(name="ours-local-small", model=replace(SGM_SMALL, keypoint_ratio=None))
LOCAL_BASE = Experiment(name="ours-local-base", model=replace(SGM_BASE, keypoint_ratio=None))

# From nothing, on scenes made here, in minutes: for any time between two frames. By command line,
# in this order: sgm-vfi train gmflow, base, x4k --config synthetic.
FOOTAGE_LIKE_SCENES = SyntheticConfig(  # much of it rests, is soft, or went through a codec
    still=0.4, curved=0.1, zoom=(0.2, 1.2), lens=0.5, coded=0.3
)
SYNTHETIC_DATA = DataConfig(
    source="synthetic", any_time=True, truth=True, train_scenes=20_000, scenes=FOOTAGE_LIKE_SCENES
)
SHORT_TRAINING = TrainConfig(
    minutes=15,
    batch_size=32,
    learning_rate=5e-4,
    final_learning_rate=5e-6,
    warmup_steps=200,
    clip_norm=1.0,
    ema_decay=0.999,
    precision="bfloat16",
    channels_last=True,
    data_dependent_init=True,
    motion_loss=0.03,
    attention_loss=0.1,
    motion_until=0.8,
    validate_every=2,
    val_batch_size=50,
    save_every=500,
    panel_every=2000,
)
SYNTHETIC_SMALL = Experiment(
    name="synthetic-local-small",
    model=replace(LOCAL_SMALL.model, any_time=True),
    data=replace(SYNTHETIC_DATA, scenes=replace(FOOTAGE_LIKE_SCENES, growing=3)),
    training=SHORT_TRAINING,
)
CPU_SMALL = replace(  # what two cores can in half an hour: small crops, motion to be seen in them
    SYNTHETIC_SMALL,
    name="cpu-local-small",
    data=replace(
        SYNTHETIC_DATA,
        patch_size=96,
        train_scenes=800,
        val_scenes=64,
        scenes=replace(
            FOOTAGE_LIKE_SCENES, growing=4, still=0.2, motion=(0.005, 0.2), camera=(0.005, 0.15)
        ),
    ),
    training=replace(
        SHORT_TRAINING,
        minutes=27,
        batch_size=8,
        learning_rate=6e-4,
        final_learning_rate=1e-5,
        warmup_steps=50,
        ema_decay=0.995,
        precision="float32",  # bfloat16 is a quarter faster where the processor computes in it
        motion_loss=0.1,
        attention_loss=0.3,
        motion_until=1.0,
        validate_every=3,
        val_batch_size=8,
        save_every=100,
        panel_every=200,
    ),
)

TINY = SGMConfig(channels=4, depths=(1, 1, 1, 2), keypoint_ratio=None)
SMALL_SCENES = SyntheticConfig(textures=12, texture_size=256, masks=16)  # ready in a second
SMOKE = Experiment(
    name="smoke-local",
    model=TINY,
    data=DataConfig(
        source="synthetic", patch_size=64, train_scenes=24, val_scenes=4, scenes=SMALL_SCENES
    ),
    training=TrainConfig(
        epochs=2,
        batch_size=2,
        warmup_steps=4,
        validate_first=True,
        validate_every=1,
        val_batch_size=2,
        log_every=4,
        panel_every=12,
    ),
)
OVERFIT = replace(
    SMOKE,
    name="overfit",
    model=replace(TINY, channels=8),
    data=replace(SMOKE.data, patch_size=96, val_scenes=1, overfit=100),
    training=replace(
        SMOKE.training,
        epochs=4,
        batch_size=1,
        learning_rate=1e-3,
        warmup_steps=50,
        log_every=20,
        panel_every=100,
    ),
)
EXPERIMENTS = {
    "ours-local-small": LOCAL_SMALL,
    "ours-local-base": LOCAL_BASE,
    "synthetic": SYNTHETIC_SMALL,
    "cpu": CPU_SMALL,
    "smoke": SMOKE,
    "overfit": OVERFIT,
}

FLAGS = (  # published ones, and --synthetic: name, the fields it sets, what it is, its value
    ("--batch_size", ("training.batch_size",), "samples of a step, per process"),
    (
        "--data_path",
        ("data.train_path", "data.val_path"),
        "root of Vimeo90K, or a folder of footage",
    ),
    ("--train_data_path", ("data.train_path",), "X4K1000FPS/train"),
    ("--val_data_path", ("data.val_path",), "X4K1000FPS/val"),
    ("--need_patch", ("data.need_patch",), "train on random crops, as all recipes do", "true"),
    ("--patch_size", ("data.patch_size",), "side of the crops"),
    ("--synthetic", ("data.source",), "train on scenes made here: needs no files", "synthetic"),
)
