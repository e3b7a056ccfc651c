"""Which of mutmut's changes does a test notice? All of them, or a seeded sample of each file.

    .venv/bin/mutmut run 'vicinal.evaluations.score*'  # makes all changes, notes what reaches them
    .venv/bin/python benchmarks/mutants.py --a-file 45 --out mutants/noticed.jsonl

mutmut starts pytest anew for every change. Here one session imports and collects the tests once,
and each change has a fork of it, in which the tests that reach the changed function run, those of
the file's own name first, until one fails: a noticed change costs some hundredths of a second. An
interrupted run goes on where it was. See docs/mutation.md.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import random
import resource
import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from scipy.stats import binomtest

WHOLE = 50  # files with so few changes are run whole


class Forks:
    """The pytest plugin: instead of the tests once, the tests that reach each change."""

    def __init__(self, names: list[str], out: Path, seconds: float) -> None:
        notes = json.loads(Path("mutmut-stats.json").read_text("utf-8"))
        self.reached_by: dict[str, list[str]] = notes["tests_by_mangled_function_name"]
        self.takes: dict[str, float] = notes["duration_by_test"]
        self.names, self.out, self.seconds = names, out, seconds
        self.failed: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps the first test that fails."""
        if report.failed and self.failed is None:
            self.failed = report.nodeid

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Runs every change that is not in the file yet."""
        items = {item.nodeid: item for item in session.items}
        done = {one["name"] for one in read(self.out)}
        with self.out.open("a", encoding="utf-8") as file:
            for name in self.names:
                if name not in done:
                    tests = [items[test] for test in self.chosen(name) if test in items]
                    file.write(json.dumps({"name": name, **self.one(name, tests)}) + "\n")
                    file.flush()
        return True

    def chosen(self, name: str) -> list[str]:
        """The cheapest tests that reach the change, up to the seconds; by file, its own first."""
        spent, by_file = 0.0, defaultdict(list)
        tests = self.reached_by.get(name.partition("__mutmut_")[0], [])
        for test in sorted(tests, key=lambda one: (self.takes.get(one, 0.0), one)):
            spent += self.takes.get(test, 0.0)
            if not by_file or spent <= self.seconds:
                by_file[test.split("::")[0]].append(test)
        own = f"test_{name.split('.')[2]}.py"
        order = sorted(by_file, key=lambda file: (own not in file, file))
        return [test for file in order for test in by_file[file]]

    def one(self, name: str, tests: list[pytest.Item]) -> dict[str, Any]:
        """Whether a test fails with this change, and which."""
        if not tests:
            return {"status": "no tests"}
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            limit = int(4 * self.seconds + 10)
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
            quiet = os.open(os.devnull, os.O_RDWR)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            os.environ["MUTANT_UNDER_TEST"] = name
            for item, after in zip(tests, [*tests[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
                if self.failed:
                    os.write(writer, self.failed.encode())
                    os._exit(1)
            os._exit(0)
        os.close(writer)
        status = os.waitpid(pid, 0)[1]
        with os.fdopen(reader, encoding="utf-8") as told:
            by = told.read()
        if os.WIFSIGNALED(status):  # out of time, or the process died of it
            return {"status": "noticed", "by": f"signal {os.WTERMSIG(status)}"}
        return {"status": "noticed" if os.WEXITSTATUS(status) else "survived", "by": by}


def read(path: Path) -> list[dict[str, Any]]:
    """What was found so far."""
    return [json.loads(line) for line in path.open(encoding="utf-8")] if path.exists() else []


def sample(a_file: int, only: str) -> list[str]:
    """Names of changes, a seeded draw of each file's; any beginning of them is even over files."""
    drawn = []
    for meta in sorted(Path("src").rglob("*.meta")):
        names = sorted(json.loads(meta.read_text("utf-8"))["exit_code_by_key"])
        names = [name for name in names if fnmatch.fnmatch(name, only)]
        random.Random(f"vicinal-{meta.name}").shuffle(names)  # noqa: S311
        drawn.append(names[:a_file] if a_file and len(names) > WHOLE else names)
    longest = max(map(len, drawn))
    return [names[at] for at in range(longest) for names in drawn if at < len(names)]


def main() -> None:
    """Runs them and prints a line for each folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--a-file", type=int, default=0, help="changes of each file; 0: all")
    parser.add_argument("--only", default="*", help="names of changes, such as '*.spectral.*'")
    parser.add_argument("--seconds", type=float, default=5.0, help="tests' time for a change")
    parser.add_argument("--out", type=Path, default=Path("mutants/noticed.jsonl"))
    asked = parser.parse_args()
    out = asked.out.resolve()
    setup = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["tool"]["mutmut"]
    os.chdir("mutants")
    sys.path.insert(0, str(Path("src").resolve()))
    os.environ |= {"PYTHONPATH": sys.path[0], "MUTANT_UNDER_TEST": ""}
    settings.register_profile("once", phases=[Phase.explicit, Phase.generate], database=None)
    settings.load_profile("once")  # the first failure is enough
    pytest.main(
        ["--rootdir=.", "--capture=no", "-p", "no:cacheprovider", *setup["pytest_add_cli_args"],
         *setup["pytest_add_cli_args_test_selection"]],
        plugins=[Forks(sample(asked.a_file, asked.only), out, asked.seconds)],
    )  # fmt: skip
    folders = defaultdict(list)
    for one in read(out):
        folders[one["name"].split(".")[1]].append(one["status"] == "noticed")
    for folder, noticed in folders.items():
        share = binomtest(sum(noticed), len(noticed)).proportion_ci(method="wilson")
        print(
            f"\n{folder}/: {sum(noticed)} of {len(noticed)} noticed, "
            f"{sum(noticed) / len(noticed):.0%} (95 %: {share.low:.0%} to {share.high:.0%})"
        )


if __name__ == "__main__":
    main()
