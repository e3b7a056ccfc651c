import subprocess
import sys

import vicinal


def test_every_public_name_loads() -> None:
    assert set(vicinal.__all__) == {"__version__", *vicinal._HOMES}
    for name in vicinal.__all__:
        assert getattr(vicinal, name) is not None


def test_importing_the_package_the_report_or_the_command_does_not_load_torch() -> None:
    code = "import sys, vicinal, vicinal.report, vicinal.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
