"""`vicinal` whose last rank is killed, as by the kernel, in the middle of its second epoch.

Only once: not after torchrun's agent has started the ranks again. Notes where each start began,
and on which host (network namespace) the rank was killed.
"""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from vicinal import distributed
from vicinal.cli import main
from vicinal.training.batches import Position
from vicinal.training.checkpoint import Checkpoint

NOTES = Path(os.environ["NOTES"])
save, restore = Checkpoint.save, Checkpoint.restore


def saved(
    self: Checkpoint,
    epoch: int,
    rows: Sequence[list[str]] = (),
    position: Position | None = None,
) -> None:
    save(self, epoch, rows, position)
    if epoch == 1 and position is not None and not (NOTES / "killed").exists():
        distributed.from_first(lambda: None)  # rank 0 has written it
        if distributed.rank() == distributed.world_size() - 1:
            (NOTES / "killed").write_text(os.readlink("/proc/self/ns/net"))
            os.kill(os.getpid(), signal.SIGKILL)


def restored(self: Checkpoint) -> int:
    done = restore(self)
    if distributed.is_first():
        steps = self.within.get("steps", 0)
        with (NOTES / "starts").open("a") as file:
            file.write(f"{done} {steps}\n")
    return done


Checkpoint.save = saved  # type: ignore[method-assign]
Checkpoint.restore = restored  # type: ignore[method-assign]
main()
