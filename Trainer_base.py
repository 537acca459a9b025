"""The training loop of every stage."""

import itertools
import logging
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from sgm_vfi.benchmark.metrics import psnr
from sgm_vfi.config_base import Experiment
from sgm_vfi.dataset.data_config import LoaderShard, build_loader
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.engine.graceful_stop import StopRequest
from sgm_vfi.engine.launch import RunContext
from sgm_vfi.engine.optimiser import GuardedAdamW
from sgm_vfi.engine.runlog import RunLog
from sgm_vfi.engine.schedule import learning_rate_at
from sgm_vfi.engine.step_log import MetricMeans, StepLog
from sgm_vfi.engine.time_budget import TimeBudget
from sgm_vfi.media.images import as_samples
from sgm_vfi.model.checkpoint import save_weights
from sgm_vfi.model.interpolator import Interpolation
from sgm_vfi.model.memory_allocator import keep_freed_memory
from sgm_vfi.model.precision import compile_modules, use_bfloat16_in_training
from sgm_vfi.model.sgm.network import CELL, SGM
from sgm_vfi.training.initialisation import data_dependent_init
from sgm_vfi.training.losses import interpolation_loss
from sgm_vfi.training.motion_supervision import MotionSupervision
from sgm_vfi.training.panels import interpolation_panel
from sgm_vfi.training.profiling import PARTS, format_step_profile, profile_training_step
from sgm_vfi.training.start_weights import load_features, load_start_weights

logger = logging.getLogger(__name__)

BEST_PSNR = 100.0  # dB: what equal frames count as, so that a mean stays a number
# Attributes that a checkpoint holds.
PROGRESS = ("step", "epoch", "samples_seen", "validated_step", "best_metric")


class Trainer:
    """One loop for every stage; a stage is a recipe, which names data, and the hooks below."""

    METRICS = ("psnr", "psnr_blend")  # of validation; the best checkpoint has the highest first one

    def __init__(self, experiment: Experiment, run: RunContext) -> None:
        self.experiment, self.config, self.run = experiment, experiment.training, run
        self.world, self.device = run.world, run.device
        self.time_budget = TimeBudget(self.config.minutes, run.world)
        self.random = torch.Generator().manual_seed(self.config.seed)  # alike in all processes
        self.step = self.epoch = 0
        self.samples_seen = 0  # of this epoch, by all processes
        self.validated_step, self.best_metric = -1, -torch.inf
        self._open_data()
        self._build_optimised_network()
        self.stop_request = StopRequest()
        self.panel_batch: Triplet | None = None  # the batch that panels show
        self.log = RunLog(run.folder, active=self.world.is_main)
        self.step_log = StepLog(self.world, self.log, self.config.max_skipped)
        if run.resume:
            self._load_last_checkpoint()

    # ---- what a stage may change -----------------------------------------------------------------

    def build_network(self) -> nn.Module:
        """Hook: the network, with the weights that it starts from."""
        experiment, network = self.experiment, SGM(self.experiment.model)
        if self.run.has_other_weights:
            return network  # the checkpoint has all weights
        if self.config.data_dependent_init and not experiment.start_from:
            data_dependent_init(
                network, *self.world.broadcast(next(iter(self.loader)).to("cpu")).inputs()
            )
        complete = experiment.start_from and load_start_weights(network, experiment.start_from)
        if network.gmflow is not None and not complete and not experiment.allow_random_features:
            load_features(network.gmflow, experiment.features)
        return network

    def trainable_parameters(self) -> Iterable[nn.Parameter]:
        """Hook: what the optimiser may move."""
        return self.model.parameters()

    def compute_modules(self) -> Iterable[nn.Module]:
        """Hook: the parts that may be compiled, and compute in bfloat16."""
        return self.model.compute_modules()

    def prepare_batch(self, batch: Triplet) -> Triplet:
        """Hook: the last change to a batch before the network learns from it."""
        return batch

    def forward_batch(self, network: nn.Module, batch: Triplet) -> Any:
        """Hook: what the network makes of a batch."""
        return network(*batch.inputs(), explain=network.training and batch.truth is not None)

    def loss(self, prediction: Interpolation, batch: Triplet) -> Tensor:
        """Hook: what is minimised. Shapes: -> ()."""
        loss = interpolation_loss(prediction, batch.target)
        share = self.config.motion_weight(self.step / self.total_steps)
        if not share or prediction.explanation is None:
            return loss
        return loss + share * self.motion_supervision(
            prediction.explanation, batch.target_flow(), batch.downsampled_flow(CELL)
        )

    def validation_metrics(self, prediction: Interpolation, batch: Triplet) -> Tensor:
        """Hook: how good a prediction is. Shapes: -> (B, len(METRICS))."""
        average = (batch.frame0 + batch.frame1) / 2
        both = [psnr(frame, batch.target) for frame in (prediction.frame, average)]
        return torch.stack(both, dim=1).clamp(max=BEST_PSNR)

    def validation_panel(self, network: nn.Module, batch: Triplet) -> Tensor:
        """Hook: a panel to look at. Shapes: -> (3, h, w)."""
        frame, _, notes = network(*batch.inputs(), explain=True)
        return interpolation_panel(batch, frame, notes or {})

    def metadata(self) -> dict[str, Any]:
        """Hook: what stands beside the weights in their files."""
        return {"config": asdict(self.experiment.model), "recipe": asdict(self.experiment)}

    # ---- the loop --------------------------------------------------------------------------------

    def fit(self) -> None:
        """Train to the end, or until asked to stop; either way everything is saved."""
        summary = self.config.summary(self.world.size)
        logger.info("%d steps on %s, %s", self.total_steps, self.device, summary)
        self.log.start_progress(self.step, self.total_steps)
        with self.stop_request:
            self._validate_if_due()
            while self.step < self.total_steps:
                self.train_epoch()
                self._validate_if_due()
        if self.world.is_main:
            result = self.run.folder / "ckpt" / f"{self.experiment.name}.safetensors"
            save_weights(self.ema_model, result, self.metadata())
            logger.info("Done: %s", result)
        self.log.close()

    def profile_steps(self, steps: int) -> None:
        """Take steps to see what they cost, and print it; of the sizes drawn, the largest."""
        self.config = replace(
            self.config, scales=(max(self.config.scales),), scale_probabilities=(1.0,)
        )
        batches = itertools.chain.from_iterable(itertools.repeat(self.loader))
        parts = [(self, *row) for row in PARTS] + [(self.optimizer, "step", "optimiser")]
        how = (steps, parts, self.device, self.config.precision)
        cost = profile_training_step(lambda: self.train_step(*self._next_batches(batches)), *how)
        self.log.close()
        if self.world.is_main:
            print(*format_step_profile(cost, self.samples_per_step), sep="\n")

    def train_epoch(self) -> None:
        """Learn from (the rest of) this process's share of an epoch."""
        self.loader.set_epoch(
            self.epoch, self.samples_seen // (self.config.batch_size * self.world.size)
        )
        steps, batches = len(self.loader) // self.config.accumulate, iter(self.loader)
        self.step_log.throughput.reset()
        for _ in itertools.takewhile(lambda _: self.step < self.total_steps, range(steps)):
            self.train_step(*self._next_batches(batches))
            self.samples_seen += self.samples_per_step
            self.step_log.throughput.add_samples(self.samples_per_step)
            self._run_periodic_tasks()
        self.epoch, self.samples_seen = self.epoch + 1, 0

    def train_step(self, *batches: Triplet) -> None:
        """Move the weights once, along the mean gradient of these batches."""
        self.model.train()  # pictures and scores are made in evaluation mode
        losses = [
            self._backward_batch(batch, batch is batches[-1], len(batches)) for batch in batches
        ]
        loss, rate = torch.stack(losses).mean(), self.learning_rate()
        norm = self.optimizer.step(rate)
        self.step += 1
        self.step_log.add(loss, norm, step=self.step, epoch=self.epoch, learning_rate=rate)

    def learning_rate(self) -> float:
        """The rate of the next step."""
        times = self.samples_per_step / (self.config.reference_batch_size or self.samples_per_step)
        return times * learning_rate_at(self.config, self.step, self.total_steps)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Score the network on all of the validation data; every process scores its share."""
        self.step_log.flush()
        network, means = self.ema_model.eval(), MetricMeans(self.METRICS)
        self.validation.set_epoch(0)
        for batch in self.validation:
            batch = batch.to(self.device)
            means.add(self.validation_metrics(self.forward_batch(network, batch), batch))
        result = means.compute(self.world)
        self.log.log_metrics(self.step, self.epoch, result)
        self.validated_step = self.step
        if result[self.METRICS[0]] > self.best_metric:
            self.best_metric = result[self.METRICS[0]]
            self.run.checkpoints.save_best(self._weights() | {"scores": result})
        self.save()
        return result

    def save(self) -> None:
        """Write all that `_load_last_checkpoint` needs."""
        self.step_log.flush()
        self.run.checkpoints.save_last(self._state())

    # ---- its parts -------------------------------------------------------------------------------

    def _open_data(self) -> None:
        config, data = self.config, self.experiment.data
        share = LoaderShard(self.device, self.world.rank, self.world.size, config.seed)
        self.loader = build_loader(data, config.batch_size, share, training=True)
        self.validation = build_loader(data, config.val_batch_size, share, training=False)
        self.samples_per_step = config.samples_per_step(self.world.size)
        self.total_steps = config.total_steps(len(self.loader))

    def _build_optimised_network(self) -> None:
        config = self.config
        keep_freed_memory()
        torch.manual_seed(config.seed)  # fresh weights are the same in all processes
        self.model = self.build_network().to(self.device)
        if config.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        weights = [weight for weight in self.trainable_parameters() if weight.requires_grad]
        self.optimizer = GuardedAdamW(self.model, weights, **config.optimiser())
        self.motion_supervision = MotionSupervision(
            self.model, config.motion_loss, config.attention_loss
        )
        self.ema_model = self.optimizer.ema_model
        if config.precision == "bfloat16":
            use_bfloat16_in_training(self.compute_modules())
        if config.compile:
            compile_modules(self.compute_modules())
        self.network = self.world.wrap(self.model)

    def _next_batches(self, batches: Iterator[Triplet]) -> list[Triplet]:
        """The batches of the next step; where a process has none, or is to stop, all stop."""
        problem, group = None, []
        with self.step_log.throughput.measure_wait():
            try:
                group = [next(batches).to(self.device) for _ in range(self.config.accumulate)]
            except (OSError, ValueError, RuntimeError) as error:
                problem = error
        if self.world.any_rank(self.stop_request.is_requested or problem is not None):
            self.save()
            self.log.close()
            self.stop_request.exit_run(self.step, problem)
        return [self.prepare_batch(batch) for batch in group]

    def _backward_batch(self, batch: Triplet, is_last: bool, batches: int) -> Tensor:
        """Add a batch's part to the gradient; with the last one it is that of all processes."""
        with nullcontext() if is_last else self.world.no_sync(self.network):
            loss = self.loss(self.forward_batch(self.network, batch), batch)
            # A loss that is not finite must be seen in the gradient, which processes share.
            weight = torch.where(loss.isfinite(), 1 / batches, torch.nan)
            (loss * weight).backward()
        return loss.detach()

    def _run_periodic_tasks(self) -> None:
        """What is due between two steps."""
        config, step = self.config, self.step
        if step % config.log_every == 0:
            self.total_steps = self.log.set_total_steps(
                self.time_budget.total_steps(step, self.total_steps)
            )
            self.step_log.flush()
        if step % config.panel_every == 0:
            self._log_panel()
        if step % config.save_every == 0:
            self.save()

    def _validate_if_due(self) -> None:
        every, first = self.config.validate_every, 1 - self.config.validate_first
        is_turn = not self.samples_seen and self.epoch % every == 0 and self.epoch >= first
        if self.validated_step != self.step and (is_turn or self.step >= self.total_steps):
            self.validate()

    @torch.no_grad()
    def _log_panel(self) -> None:
        """Draw a panel of validation data, always the same."""
        if self.world.is_main:
            if self.panel_batch is None:
                self.panel_batch = next(iter(self.validation))
            panel = self.validation_panel(self.ema_model.eval(), self.panel_batch.to(self.device))
            self.log.add_image(self.step, "panel", as_samples(panel))
        self.step_log.throughput.reset()

    def _weights(self) -> dict[str, Any]:
        """What `load_interpolator` needs of a checkpoint."""
        return {"model": self.ema_model.state_dict(), "metadata": self.metadata()}

    def _state(self) -> dict[str, Any]:
        """What `_load_last_checkpoint` needs on top: tensors and plain values."""
        training = {
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
            "log": self.log.position(),
            "clock": self.time_budget.state_dict(),
            **{name: getattr(self, name) for name in PROGRESS},
        }
        return self._weights() | {"training": training}

    def _load_last_checkpoint(self) -> None:
        """Go on where the last checkpoint was written, in all processes."""
        state = self.world.broadcast(self.run.checkpoints.load())
        if state is None:
            logger.info("No checkpoint in %s yet: this run begins.", self.run.folder)
            self.log.truncate(0)
            return
        training = state["training"]
        self.optimizer.load_state_dict(training["optimizer"], state["model"])
        self.random.set_state(training["random"])
        vars(self).update({name: training[name] for name in PROGRESS})
        self.time_budget.load_state_dict(training["clock"])
        self.total_steps = self.time_budget.total_steps(self.step, self.total_steps)
        self.log.truncate(training["log"])
        logger.info("Going on after step %d.", self.step)
