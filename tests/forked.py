"""Commands and programs in processes of their own, forked from one that has imported torch.

An import of torch and of what goes with it takes seconds, more than most of what is run here. A
forked process is a process like any other: it has its own folder, environment, output, exit status
and signals. What an import itself does (whether torch is loaded at all, say) needs a new
interpreter instead: `subprocess` and `sys.executable`.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path

# `torchrun` with its own options, agent and rendezvous. Where it would start an interpreter for
# each rank, the agent, which has imported torch, is forked.
TORCHRUN = """
import atexit, runpy, signal, sys
from torch.distributed import run

def rank(_, *words):
    atexit._clear()  # what the agent does at its end
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)  # not the agent's
    named = words[0] == "-m"
    sys.argv = list(words[named:])
    try:
        if named:
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    finally:
        atexit._run_exitfuncs()

launch = run.elastic_launch
run.elastic_launch = lambda config, entrypoint: launch(config, rank)
run.main(["--start-method", "fork", *sys.argv[1:]])
"""
# `python -m vicinal`, for what starts itself anew by the name of its module.
MODULE = "import runpy; runpy.run_module('vicinal', run_name='__main__', alter_sys=True)"
SECONDS = 1800  # a machine may be busy with something else
PRELOADED = (
    "torch",
    "lightning.fabric",
    "openTSNE",
    "plotly.graph_objects",
    "pyarrow.parquet",
    "scipy.stats",
    "sklearn.cluster",
    "sklearn.datasets",
    "sklearn.linear_model",
    "timm",
    "vicinal.cli",
    "vicinal.cli.output",
    "vicinal.estimators",
    "vicinal.explore",
    "vicinal.report",
    "vicinal.study.run",
    "vicinal.study.claims",
    "vicinal.study.train",
)
STUDY_SETTINGS = (
    "training.epochs=2",
    "training.warmup_epochs=0",
    "mined.epochs=1",
    "encoder.widths=[8]",
    "encoder.dimension=8",
    "projector.widths=[16, 16]",
    "evaluation.bootstrap=20",
    "evaluation.short_epochs=2",
    "evaluation.map_images=120",
    "evaluation.probe_holdout=0.5",
)
# A small study of the digits, which the fixture `study` has run.
STUDY = (
    *("study", "--limit", "200", "--objectives", "vicreg,ntxent", "--threads", "1"),
    *(word for setting in STUDY_SETTINGS for word in ("--set", setting)),
    *("--run", "run"),
)

# A short training on photographs, which the fixture `explored` has run.
EXPLORE_SETTINGS = (
    *("--recipe", "laptop", "--set", "training.epochs=2", "--set", "training.batch_size=32"),
)
EXPLORE = ("explore", "PHOTOS", *EXPLORE_SETTINGS, "--run", "runs/photos")


def server() -> ForkServerContext:
    """Where processes come from that have imported everything before they begin."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def set_environment(environment: Mapping[str, str]) -> None:
    """Sets variables in a process of the server's, which else has those the server began with."""
    os.environ.update(environment)


class Forked:
    """A process that is at work: what is used here of `subprocess.Popen`, with text pipes."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        program: str | None,
        cwd: Path,
        env: Mapping[str, str],
        new_session: bool = False,
    ) -> None:
        self.args = arguments
        self._place = Path(tempfile.mkdtemp(prefix="forked"))
        self._process = server().Process(
            target=_run,
            args=(arguments, program, str(cwd), dict(env), str(self._place), new_session),
        )
        self._process.start()
        self.pid = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        """The exit status, −N after signal N, None while the process is at work."""
        return self.poll()

    def poll(self) -> int | None:
        """The exit status, None while the process is at work."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless the process has ended."""
        if self._process.is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = SECONDS) -> tuple[str, str]:
        """Waits for the end: what it wrote to standard output and to standard error."""
        self._process.join(timeout)
        if self._process.is_alive():
            raise subprocess.TimeoutExpired(list(self.args), timeout, *map(str.encode, self.said()))
        said = self.said()
        shutil.rmtree(self._place, ignore_errors=True)
        return said

    def said(self) -> tuple[str, str]:
        """What it has written so far."""
        paths = [self._place / name for name in ("out", "err")]
        out, err = (path.read_text("utf-8") if path.is_file() else "" for path in paths)
        return out, err


def start(
    *arguments: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    program: str | None = None,
    new_session: bool = False,
) -> Forked:
    """Starts `vicinal ARGUMENTS`, or the text of a Python program with them as its arguments.

    ``env`` is added to this process's environment.
    """
    words = tuple(map(str, arguments))
    return Forked(words, program, cwd, os.environ | dict(env or {}), new_session)


def run(
    *arguments: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    program: str | None = None,
    timeout: float = SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Runs to the end what `start` starts."""
    process = start(*arguments, cwd=cwd, env=env, program=program)
    try:
        out, err = process.communicate(timeout)
    finally:
        process.kill()
    assert process.returncode is not None
    return subprocess.CompletedProcess(list(process.args), process.returncode, out, err)


def _run(
    arguments: tuple[str, ...],
    program: str | None,
    cwd: str,
    env: dict[str, str],
    said: str,
    new_session: bool,
) -> None:
    """What the forked process does."""
    if new_session:
        os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for number, name in enumerate(("out", "err"), 1):
        os.dup2(os.open(f"{said}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    # A shell that runs the tests in the background has Ctrl-C ignored, and children inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["vicinal" if program is None else "-c", *arguments]
    sys.path.insert(0, "")
    try:
        if program is None:
            from vicinal.cli import main

            main()
        else:
            module = types.ModuleType("__main__")
            sys.modules["__main__"] = module
            exec(compile(program, "<string>", "exec"), module.__dict__)
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends its processes without
