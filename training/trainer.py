"""The training loop, for any network: what a network needs are the hooks of `Trainer`."""

import itertools
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from sgm_vfi.config_base import Experiment
from sgm_vfi.dataset.data_config_and_loaders import LoaderShard, build_loader
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.engine.graceful_stop import StopRequest
from sgm_vfi.engine.guarded_adamw import GuardedAdamW
from sgm_vfi.engine.runlog import MetricMeans, RunLog, StepLog
from sgm_vfi.engine.schedule import TimeBudget, learning_rate_at
from sgm_vfi.engine.training_command_line import RunContext
from sgm_vfi.media.images import as_samples
from sgm_vfi.model.layers.memory_layout import set_memory_layout
from sgm_vfi.model.malloc_settings import keep_freed_memory
from sgm_vfi.model.precision_and_compile import compile_modules, use_bfloat16_in_training
from sgm_vfi.model.weight_io import save_weights
from sgm_vfi.training.step_cost import StepSections, format_step_profile, profile_training_step

logger = logging.getLogger(__name__)

Output = TypeVar("Output")  # of the network in training mode
PROGRESS = ("step", "epoch", "samples_seen", "validated_step", "best_metric")  # in a checkpoint


class Trainer(ABC, Generic[Output]):
    """Base class of trainers: one loop; a recipe names the data, subclasses define the hooks."""

    METRICS: tuple[str, ...]  # of validation; the best checkpoint has the highest first one

    def __init__(self, experiment: Experiment, run: RunContext) -> None:
        self.experiment, self.config, self.run = experiment, experiment.training, run
        self.world, self.device = run.world, run.device
        self.time_budget = TimeBudget(self.config.minutes, run.world)
        self.random = torch.Generator().manual_seed(self.config.seed)  # the same in all processes
        self.step = self.epoch = self.samples_seen = 0  # samples: of this epoch, by all processes
        self.validated_step, self.best_metric = -1, -torch.inf
        self._open_data()
        self._build_network_and_optimizer()
        self.stop_request, self.section = StopRequest(), StepSections(self.device)
        self.panel_batch: Triplet | None = None
        self.log = RunLog(run.folder, active=self.world.is_main)
        self.step_log = StepLog(self.world, self.log, self.config.max_skipped)
        if run.resume:
            self._load_last_checkpoint()

    # ---- hooks -----------------------------------------------------------------------------------

    @abstractmethod
    def build_network(self) -> nn.Module:
        """Hook: build the network with the weights that training starts from."""

    def training_module(self) -> nn.Module:
        """Hook: the module whose forward pass training calls; it is wrapped for all processes."""
        return self.model

    def trainable_parameters(self) -> Iterable[nn.Parameter]:
        """Hook: the parameters that the optimiser moves."""
        return self.model.parameters()

    def compute_modules(self) -> Iterable[nn.Module]:
        """Hook: the modules that may be compiled and may compute in bfloat16."""
        return self.model.compute_modules()

    def prepare_batch(self, batch: Triplet) -> Triplet:
        """Hook: transform a training batch on the device."""
        return batch

    @abstractmethod
    def forward_batch(self, network: nn.Module, batch: Triplet) -> Output:
        """Hook: run the network in training mode on a batch."""

    @abstractmethod
    def loss(self, prediction: Output, batch: Triplet) -> Tensor:
        """Hook: compute the loss. Shapes: -> ()."""

    @abstractmethod
    def validation_metrics(self, network: nn.Module, batch: Triplet) -> Tensor:
        """Hook: measure the network in evaluation mode. Shapes: -> (B, len(METRICS))."""

    @abstractmethod
    def validation_panel(self, network: nn.Module, batch: Triplet) -> Tensor:
        """Hook: draw an image of the first sample. Shapes: -> (3, h, w)."""

    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """Hook: metadata of the weights files."""

    # ---- the loop --------------------------------------------------------------------------------

    def fit(self) -> None:
        """Train to the end or until a stop is requested; both save everything."""
        summary = self.config.summary(self.world.size)
        logger.info("%d steps on %s, %s", self.total_steps, self.device, summary)
        self.log.start_progress(self.step, self.total_steps)
        self.log.log_recipe(asdict(self.experiment), self.METRICS)
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
        """Print what a training step costs, at the largest scale of the recipe."""
        largest = (max(self.config.scales),)
        self.config = replace(self.config, scales=largest, scale_probabilities=(1.0,))
        batches = itertools.chain.from_iterable(itertools.repeat(self.loader))
        profile = profile_training_step(
            lambda: self.train_step(*self._next_batches(batches)),
            steps,
            self.section,
            self.config.precision,
        )
        self.log.close()
        if self.world.is_main:
            print(*format_step_profile(profile, self.samples_per_step), sep="\n")

    def train_epoch(self) -> None:
        """Train on the (remaining) batches of this process in an epoch."""
        start = self.samples_seen // (self.config.batch_size * self.world.size)
        self.loader.set_epoch(self.epoch, start)
        steps, batches = len(self.loader) // self.config.accumulate, iter(self.loader)
        self.step_log.throughput.reset()
        for _ in itertools.takewhile(lambda _: self.step < self.total_steps, range(steps)):
            self.train_step(*self._next_batches(batches))
            self.samples_seen += self.samples_per_step
            self.step_log.throughput.add_samples(self.samples_per_step)
            self._run_periodic_tasks()
        self.epoch, self.samples_seen = self.epoch + 1, 0

    def train_step(self, *batches: Triplet) -> None:
        """Take one optimiser step on the mean gradient of the batches."""
        self.model.train()  # validation and panels leave it in evaluation mode
        last = batches[-1]
        losses = [self._backward_batch(batch, batch is last, len(batches)) for batch in batches]
        loss, rate = torch.stack(losses).mean(), self.learning_rate()
        with self.section("optimiser"):
            norm = self.optimizer.step(rate)
        self.step += 1
        self.step_log.add(loss, norm, step=self.step, epoch=self.epoch, learning_rate=rate)

    def learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        times = self.samples_per_step / (self.config.reference_batch_size or self.samples_per_step)
        return times * learning_rate_at(self.config, self.step, self.total_steps)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Measure the network on the validation data, sharded over the processes."""
        self.step_log.flush()
        network, means = self.ema_model.eval(), MetricMeans(self.METRICS)
        self.validation.set_epoch(0)
        for batch in self.validation:
            batch = batch.to(self.device)
            means.add(self.validation_metrics(network, batch))
        result = means.compute(self.world)
        self.log.log_metrics(self.step, self.epoch, result)
        self.validated_step = self.step
        if result[self.METRICS[0]] > self.best_metric:
            self.best_metric = result[self.METRICS[0]]
            self.run.checkpoints.save_best(self._weights() | {"scores": result})
        self.save()
        return result

    def save(self) -> None:
        """Write the last checkpoint."""
        self.step_log.flush()
        self.run.checkpoints.save_last(self._state())

    def first_batch(self) -> Triplet:
        """Return the first training batch of the main process, on the CPU, in all processes."""
        return self.world.broadcast(next(iter(self.loader)).to("cpu"))

    # ---- parts of it ----------------------------------------------------------------------------

    def _open_data(self) -> None:
        config, data = self.config, self.experiment.data
        shard = LoaderShard(self.device, self.world.rank, self.world.size, config.seed)
        self.loader = build_loader(data, config.batch_size, shard, training=True)
        self.validation = build_loader(data, config.val_batch_size, shard, training=False)
        self.samples_per_step = config.samples_per_step(self.world.size)
        self.total_steps = config.total_steps(len(self.loader))

    def _build_network_and_optimizer(self) -> None:
        config = self.config
        keep_freed_memory()
        torch.manual_seed(config.seed)  # fresh weights are the same in all processes
        # Any: an nn.Module with the methods that the hooks of this trainer call.
        self.model: Any = self.build_network().to(self.device)
        if config.channels_last:
            set_memory_layout(self.model, torch.channels_last)
        weights = [weight for weight in self.trainable_parameters() if weight.requires_grad]
        self.optimizer = GuardedAdamW(self.model, weights, **config.optimiser())
        self.ema_model = self.optimizer.ema_model
        if config.precision == "bfloat16":
            use_bfloat16_in_training(self.compute_modules())
        if config.compile:
            compile_modules(self.compute_modules())
        self.network = self.world.wrap(self.training_module())

    def _next_batches(self, batches: Iterator[Triplet]) -> list[Triplet]:
        """Return the batches of the next step; if any process fails or is to stop, all stop."""
        problem, group = None, []
        with self.section("waiting for data"), self.step_log.throughput.measure_wait():
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
        """Accumulate the gradient of a batch; the last one averages it over the processes."""
        with nullcontext() if is_last else self.world.no_sync(self.network):
            with self.section("forward"):
                prediction = self.forward_batch(self.network, batch)
            with self.section("loss"):
                loss = self.loss(prediction, batch)
            with self.section("backward"):
                # A loss that is not finite must show in the gradient, which processes share.
                weight = torch.where(loss.isfinite(), 1 / batches, torch.nan)
                (loss * weight).backward()
        return loss.detach()

    def _run_periodic_tasks(self) -> None:
        """Log, draw and save where the step number is due."""
        config, step = self.config, self.step
        if step % config.log_every == 0:
            self.total_steps = self.time_budget.total_steps(step, self.total_steps)
            self.log.set_total_steps(self.total_steps)
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
        """Log a panel of the first validation batch."""
        if self.world.is_main:
            if self.panel_batch is None:
                self.panel_batch = next(iter(self.validation))
            panel = self.validation_panel(self.ema_model.eval(), self.panel_batch.to(self.device))
            self.log.add_image(self.step, "panel", as_samples(panel))
        self.step_log.throughput.reset()

    def _weights(self) -> dict[str, Any]:
        """Return the part of a checkpoint that `load_interpolator` reads."""
        return {"model": self.ema_model.state_dict(), "metadata": self.metadata()}

    def _state(self) -> dict[str, Any]:
        """Return a checkpoint: tensors and plain values."""
        training = {
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
            "log": self.log.position(),
            "clock": self.time_budget.state_dict(),
            **{name: getattr(self, name) for name in PROGRESS},
        }
        return self._weights() | {"training": training}

    def _load_last_checkpoint(self) -> None:
        """Restore the last checkpoint in all processes."""
        state = self.world.broadcast(self.run.checkpoints.load())
        if state is None:
            logger.info("No checkpoint in %s yet: this run begins.", self.run.folder)
            self.log.truncate(0)
            return
        training = state["training"]
        with self.run.checkpoints.explain_mismatch():
            self.optimizer.load_state_dict(training["optimizer"], state["model"])
            self.random.set_state(training["random"])
            vars(self).update({name: training[name] for name in PROGRESS})
            self.time_budget.load_state_dict(training["clock"])
        self.total_steps = self.time_budget.total_steps(self.step, self.total_steps)
        self.log.truncate(training["log"])
        logger.info("Going on after step %d.", self.step)
