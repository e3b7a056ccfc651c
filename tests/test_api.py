import importlib
import subprocess
import sys

import pytest

import vicinal


def test_every_public_name_loads() -> None:
    assert set(vicinal.__all__) == {"__version__", *vicinal._HOMES}
    for name in vicinal.__all__:
        assert getattr(vicinal, name) is not None


def test_importing_the_package_the_report_or_the_command_does_not_load_torch() -> None:
    code = "import sys, vicinal, vicinal.report, vicinal.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_module_is_found_under_the_name_it_had() -> None:
    with pytest.warns(DeprecationWarning, match="is now vicinal.evaluations.duplicates"):
        moved = importlib.import_module("vicinal.verbs.duplicates")
    now = importlib.import_module("vicinal.evaluations.duplicates")
    assert moved.find_duplicates is now.find_duplicates
    with pytest.warns(DeprecationWarning, match="is now vicinal.representations"):
        held = importlib.import_module("vicinal.representations.embeddings")
    assert held.Embeddings is held.Representations
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("vicinal.verbs.no_such_job")
