"""The guide's programs, one after the other, as they stand in it."""

from pathlib import Path

import forked

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "your-own.md").read_text("utf-8")


def test_the_programs_run_one_after_the_other(tmp_path: Path) -> None:
    program = "\n".join(part.split("```")[0] for part in GUIDE.split("```python\n")[1:])
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = forked.run(program=program, cwd=tmp_path, env=cache)
    assert done.returncode == 0, done.stderr
    counted, framed, probed, shape, pretrained = done.stdout.splitlines()
    assert counted == "400 ('flower', 'temple')"
    assert framed == "('flower', 'temple')"
    assert float(probed.split()[-1]) > 0.8
    assert shape == "(400, 512)"
    assert pretrained == "(8, 1280)"
    assert (tmp_path / "runs" / "turned" / "losses.csv").is_file()
