"""What `import ipsdist` offers, and the promises that a page or an import makes."""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ipsdist

ROOT = Path(__file__).parents[1]


def modules():
    return [m.name for m in pkgutil.walk_packages(ipsdist.__path__, "ipsdist.") if not m.name.endswith("__main__")]


@pytest.mark.parametrize("name", modules())
def test_all_names_what_is_there(name):
    """Every name of __all__ exists, and no public function or class of a module is missing from it."""
    module = importlib.import_module(name)
    declared = getattr(module, "__all__", None)
    if declared is None:
        return
    assert all(hasattr(module, n) for n in declared)
    own = {
        n
        for n, v in vars(module).items()
        if not n.startswith("_") and getattr(v, "__module__", None) == name and callable(v) and isinstance(v, type)
    }
    assert own <= set(declared), own - set(declared)


def test_import_is_light():
    """`import ipsdist` imports nothing that takes long."""
    code = (
        "import sys, ipsdist; print([m for m in ('numpy', 'sympy', 'dask', 'zarr', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_reachable():
    """The names of the package's __all__ are found where they are said to be."""
    for name in ipsdist.__all__:
        assert getattr(ipsdist, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ipsdist.nothing  # noqa: B018  the access is the test


@pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="the README is not beside the tests")
def test_readme_is_finished():
    """No placeholder is left, and every page that README and docs link to exists."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text()
        assert not re.search(r"@[A-Z]+@", text), page.name
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / target).exists() or not (ROOT / ".ci").exists(), (page.name, target)


@pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="the README is not beside the tests")
def test_every_command_is_documented():
    """README or a page of docs shows every command of the program."""
    done = subprocess.run([sys.executable, "-m", "ipsdist", "--help"], capture_output=True, text=True, check=True)
    pages = " ".join(p.read_text() for p in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))))
    commands = re.findall(r"^│ ([a-z]+) ", done.stdout, flags=re.MULTILINE)
    assert len(commands) >= 9
    assert [c for c in commands if f"ipsdist {c}" not in pages] == []
