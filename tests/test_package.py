"""The package: its list of folders, its names, and its version."""

import ast
import re
from collections import defaultdict

import sgm_vfi
from tests.fixtures.package import ROOMS, ROOT, product_files

SHARED_STEMS = {"__init__", "__main__", "network"}  # and those of the networks in baselines/


def test_every_folder_of_code_is_installed() -> None:
    listed = re.findall(r'^  "(sgm_vfi[\w.]*)",$', (ROOT / "pyproject.toml").read_text(), re.M)
    folders = {file.parent.relative_to(ROOT) for file in product_files()}
    expected = {".".join(("sgm_vfi", *folder.parts)) for folder in folders}
    assert set(listed) == expected
    assert len(listed) == len(expected)


def test_no_two_public_classes_share_a_name() -> None:
    places = defaultdict(list)
    for file in product_files():
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_no_two_modules_of_a_room_share_a_stem() -> None:
    for room in ROOMS:
        places = defaultdict(list)
        for file in (ROOT / room).rglob("*.py"):
            if file.stem not in SHARED_STEMS and "baselines" not in file.parts:
                places[file.stem].append(str(file.relative_to(ROOT)))
        assert {stem: files for stem, files in places.items() if len(files) > 1} == {}


def test_every_public_name_is_documented() -> None:
    missing = [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
        for file in product_files()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and ast.get_docstring(node) is None
    ]
    assert missing == []


def test_version_is_one() -> None:
    version = sgm_vfi.__version__
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {version}\n" in (ROOT / "CHANGELOG.md").read_text()
