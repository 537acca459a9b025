"""Mutated files given to the commands: each ends in time, with one sentence, and leaves nothing.

The originals are small files of every kind that the commands read. A mutation flips bits, cuts the
end off, repeats a part, or replaces a part by zeros. Files are tried in a pool of processes.
"""

import argparse
import io
import random
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from sgm_vfi import cli
from sgm_vfi.media.images import write_frame
from sgm_vfi.model.weight_io import save_weights
from sgm_vfi.model.zoo import build_interpolator
from tests.fixtures.processes import fork_server
from tests.fixtures.videos import moving_frames, write_clip

LIMIT = 600  # seconds that one command may take on a busy machine
CODECS = {"mp4": "libx264", "mkv": "ffv1", "mov": "libx264", "avi": "mpeg4", "webm": "libvpx-vp9"}
RESULTS = '{"metrics": ["psnr"], "rows": [{"model": "a", "sample": "s", "psnr": 30.5}]}'


class Outcome(NamedTuple):
    """What a command did with one mutated file."""

    name: str
    status: int | None  # None: it had to be stopped
    problem: str  # empty: none


def flip(data: bytearray, draw: random.Random) -> bytearray:
    """Flip up to 16 bits."""
    for _ in range(draw.randint(1, 16)):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return data


def truncate(data: bytearray, draw: random.Random) -> bytearray:
    """Cut the end off."""
    return data[: draw.randrange(len(data))]


def splice(data: bytearray, draw: random.Random) -> bytearray:
    """Insert a part of the file elsewhere."""
    start, place = draw.randrange(len(data)), draw.randrange(len(data))
    return data[:place] + data[start : start + draw.randint(1, 512)] + data[place:]


def zero(data: bytearray, draw: random.Random) -> bytearray:
    """Replace a part by zeros."""
    start = draw.randrange(len(data))
    count = min(draw.randint(1, 512), len(data) - start)
    data[start : start + count] = bytes(count)
    return data


MUTATIONS: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    *(flip, truncate, splice, zero),
)


def write_originals(folder: Path) -> list[Path]:
    """Write one small file of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = moving_frames(4, 32, 48)
    files = []
    for suffix, codec in CODECS.items():
        files.append(write_clip(folder / f"clip.{suffix}", frames, codec=codec))
    files.append(folder / "image.png")
    write_frame(files[-1], frames[0][0])
    network = build_interpolator("ifrnet_s")
    files.append(folder / "net.safetensors")
    save_weights(network, files[-1], {"network": "ifrnet", "config": asdict(network.config)})
    files.append(folder / "results.json")
    files[-1].write_text(RESULTS)
    return files


def command_for(file: Path, folder: Path, originals: Path) -> list[str]:
    """Return the arguments of `sgm-vfi` that read a file; all outputs lie in `folder`."""
    output, clip = folder / "out", str(originals / "clip.mp4")
    if file.suffix == ".json":
        return ["benchmark", "report", str(file), "--output", f"{output}.html"]
    if file.suffix == ".png":
        pair = [str(file), str(originals / "image.png")]
        return ["interpolate", *pair, "--model", "blend", "--output", f"{output}.png"]
    if file.suffix == ".safetensors":
        return ["interpolate", clip, "--model", str(file), "--output", f"{output}.mp4"]
    return ["interpolate", str(file), "--model", "blend", "--output", f"{output}.mkv"]


def try_file(file: Path, originals: Path, folder: Path) -> Outcome:
    """Run the command on one file in this process and judge how it ended."""
    folder.mkdir()
    said = io.StringIO()
    status, problem = 0, ""
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            cli.main(command_for(file, folder, originals))
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0
    except BaseException as error:  # what a user would see as a traceback
        problem = f"traceback: {type(error).__name__}: {error}"
    last = (said.getvalue().strip().splitlines() or [""])[-1]
    left = sorted(path.name for path in folder.iterdir())
    if status not in (0, 2):
        problem = f"exit status {status}: {last}"
    elif status == 2 and ": error: " not in last:
        problem = f"no sentence: {last}"
    elif status == 2 and any(not name.endswith(".parts") for name in left):
        problem = f"left behind: {', '.join(left)}"
    shutil.rmtree(folder)
    return Outcome(file.name, status, problem)


def mutate_files(originals: list[Path], folder: Path, count: int, seed: int) -> Iterator[Path]:
    """Write mutated copies, the kinds in turn."""
    draw = random.Random(seed)
    for number in range(count):
        original = originals[number % len(originals)]
        mutation = draw.choice(MUTATIONS)
        name = f"{number:04d}-{mutation.__name__}{original.suffix}"
        (folder / name).write_bytes(mutation(bytearray(original.read_bytes()), draw))
        yield folder / name


def fuzz(folder: Path, count: int, seed: int = 0, processes: int = 2) -> list[Outcome]:
    """Try mutated files; return every outcome, in order.

    A process that crashes or hangs ends the trial: the file it had is named.
    """
    originals = write_originals(folder / "originals")
    mutated = folder / "mutated"
    mutated.mkdir()
    outcomes = []
    with ProcessPoolExecutor(processes, fork_server()) as pool:
        files = list(mutate_files(originals, mutated, count, seed))
        tried = [
            (file, pool.submit(try_file, file, folder / "originals", folder / file.stem))
            for file in files
        ]
        for file, future in tried:
            try:
                outcomes.append(future.result(timeout=LIMIT))
            except (TimeoutError, BrokenProcessPool) as error:
                outcomes.append(Outcome(file.name, None, f"{type(error).__name__} in {file.name}"))
                for process in pool._processes.values():
                    process.terminate()
                break
    return outcomes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m tests.stress fuzz`."""
    parser.add_argument("--files", type=int, default=500, help="how many (default: 500)")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default: 0)")
    parser.add_argument("--processes", type=int, default=2, help="at a time (default: 2)")


def run(args: argparse.Namespace) -> int:
    """Try mutated files, print the figures, and return 1 if any went wrong."""
    with TemporaryDirectory() as folder:
        outcomes = fuzz(Path(folder), args.files, args.seed, args.processes)
    wrong = [outcome for outcome in outcomes if outcome.problem]
    for outcome in wrong:
        print(f"{outcome.name}: {outcome.problem}")
    refused, read = (sum(one.status == status for one in outcomes) for status in (2, 0))
    print(
        f"{len(outcomes)} of {args.files} files tried: {refused} refused in a sentence, {read} "
        f"read all the same, {len(wrong)} wrong"
    )
    return int(bool(wrong) or len(outcomes) < args.files)
