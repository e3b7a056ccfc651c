"""The cost model behind docs/scale.md: measured costs of an image × stated rates -> its page."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from measuring import machine, table, versions
from vicinal.representations.index import kind_for

SIZE = 64  # pixels a side
SIZES = (10**6, 10**8, 10**9)
EPOCHS = {10**6: 100, 10**8: 3, 10**9: 1}
"""Passes of the training: about as many views as help an encoder of this size."""
INDEXED = 20_000  # images of the index that is measured

# Inputs that are stated, not measured; change them to yours.
ENCODED = 100e3  # bytes of a photograph
GPU = "H200"
PEAK = 989e12  # bf16, dense: NVIDIA's data sheet
USED = 0.30  # of the peak: an assumption, small convolutions seldom do better
GPU_PRICE = 3.5  # $ an hour: an assumption, on demand
CORE_PRICE = 0.05  # $ a core-hour: an assumption
DISK_PRICE = 0.02  # $ a GB and month: an assumption, object storage
DISK_READ = 2e9  # bytes a second: an assumption, one NVMe disk
CORES = 16  # beside a GPU
DISK = 4e12  # bytes of it: an assumption
MEMORY = 128 * 2**30  # bytes, of such a machine


@dataclass(frozen=True)
class Costs:
    """What one image costs; seconds are those of one core of this machine.

    Attributes:
        decode: Seconds to decode a photograph of 500 × 375 pixels and fit it.
        views: Seconds to draw two views.
        forward: Operations of the encoder for one image.
        train: Operations of a training step for one image: two views, forward and backward.
        embed: Seconds of the encoder, float32.
        pixels: Bytes of the decoded square.
        representation: Bytes of its row in parquet.
        vector: Bytes of its row in the index's vectors.
        hnsw: Seconds to link it into a graph of INDEXED images.
        ivfpq: Seconds to put it into a list, training included.
        hnsw_bytes: Bytes of the graph, its vectors included.
        ivfpq_bytes: Bytes of its code and id.
        search: Seconds of a search for 5 neighbours among INDEXED images, graph.
        passed: Seconds of an exact pass for one query.
    """

    decode: float
    views: float
    forward: float
    train: float
    embed: float
    pixels: float
    representation: float
    vector: float
    hnsw: float
    ivfpq: float
    hnsw_bytes: float
    ivfpq_bytes: float
    search: float
    passed: float


@dataclass(frozen=True)
class Stage:
    """A stage at some number of images.

    Attributes:
        name: What is done.
        bytes: What it leaves or holds.
        operations: Floating-point operations, where an encoder runs; else 0.
        core_hours: Hours of one core.
        gpu_hours: Hours of one GPU.
    """

    name: str
    bytes: float
    operations: float = 0.0
    core_hours: float = 0.0
    gpu_hours: float = 0.0

    @property
    def dollars(self) -> float:
        """Rent; the cores beside a GPU are in its price."""
        return self.core_hours * CORE_PRICE + self.gpu_hours * GPU_PRICE

    @property
    def wall_hours(self) -> float:
        """Hours on one GPU with its cores, the slower of the two."""
        return max(self.core_hours / CORES, self.gpu_hours)


def stages(costs: Costs, count: int, epochs: int) -> list[Stage]:
    """Every stage for so many images."""
    rate = PEAK * USED
    log = math.log(count) / math.log(INDEXED)  # a graph's searches grow so
    kind = kind_for(count)
    each = costs.hnsw * log if kind == "hnsw" else costs.ivfpq
    held = costs.hnsw_bytes if kind == "hnsw" else costs.ivfpq_bytes
    hour = 3600.0
    train, embed = count * epochs * costs.train, count * costs.forward
    return [
        Stage("photographs, kept encoded", count * ENCODED),
        Stage("decode and store", count * costs.pixels, core_hours=count * costs.decode / hour),
        Stage(
            f"train, {epochs} epochs",
            0.0,
            train,
            gpu_hours=train / rate / hour,
        ),
        Stage(
            "embed, decoding again",
            count * costs.representation,
            embed,
            core_hours=count * costs.decode / hour,
            gpu_hours=embed / rate / hour,
        ),
        Stage(f"index ({kind})", count * (held + costs.vector), core_hours=count * each / hour),
        Stage(
            "anomalies or duplicates by index",
            count * 100.0,
            core_hours=count * costs.search * log / hour,
        ),
        Stage(
            "anomalies or duplicates, exact", 0.0, core_hours=count * count * costs.passed / hour
        ),
    ]


def page(costs: Costs, simulated: str) -> str:
    """The whole page."""
    lines = [HEADER, "## Measured\n", table(["an image", "costs"], measured_rows(costs)), ""]
    lines += [f"*{machine()}; {versions('torch', 'faiss-cpu', 'pillow')}; processor time.*", ""]
    lines += ["## Stated\n", *(f"- {line}" for line in stated()), ""]
    for count in SIZES:
        lines += [f"## {count:,} images\n", table(COLUMNS, rows(costs, count)), ""]
        lines += [*(f"- {line}" for line in breaks(costs, count)), ""]
    return "\n".join(lines) + "\n" + simulated.strip() + "\n"


HEADER = f"""# What scale costs

Written by `python benchmarks/scale_costs.py`, not by hand: costs of one image measured on one
core, multiplied by rates and prices that are stated below and are assumptions. The encoder is
the `seed` recipe's ResNet-18 on {SIZE} × {SIZE} pixels, 128 numbers a representation. Read orders
of magnitude.
"""
COLUMNS = ["stage", "bytes", "FLOPs", "core-hours", "GPU-hours", "hours, 1 GPU + cores", "$"]


def measured_rows(costs: Costs) -> list[list[str]]:
    """Every measured cost with its docstring's words."""
    said = dict(
        line.strip().split(": ", 1) for line in (Costs.__doc__ or "").splitlines() if ": " in line
    )
    shown = []
    for field in fields(costs):
        value, unit = getattr(costs, field.name), said[field.name].split()[0].lower()
        if unit == "seconds":
            text = f"{value * 1e3:.3g} ms" if value > 1e-5 else f"{value * 1e9:.3g} ns"
        elif unit == "bytes":
            text = f"{value:,.0f} bytes"
        else:
            text = f"{value:.3g} FLOPs"
        words = said[field.name].rstrip(".").replace("INDEXED", f"{INDEXED:,}")
        shown.append([words, text])
    return shown


def stated() -> list[str]:
    """The assumptions, in words."""
    return [
        f"a photograph has {ENCODED / 1e3:g} kB;",
        f"GPU: {GPU}, {PEAK / 1e12:g} TFLOP/s in bf16 (data sheet), of which {USED:.0%} are "
        f"reached (assumed), ${GPU_PRICE:g} an hour (assumed), {CORES} cores as here and "
        f"{MEMORY / 2**30:g} GiB beside it;",
        f"a core-hour ${CORE_PRICE:g}, object storage ${DISK_PRICE:g} a GB and month (assumed); "
        f"a disk holds {DISK / 1e12:g} TB and reads {DISK_READ / 1e9:g} GB/s (assumed);",
        "epochs: " + ", ".join(f"{EPOCHS[count]} of {count:,} images" for count in SIZES) + ";",
        "a search in a graph grows as log N, and one by IVF-PQ is taken to cost as much; IVF-PQ's "
        "lists grow as √N, so its cost an image, which is measured on a small set, is a "
        "lower bound; vectors of the measured sets are "
        "synthetic, of 16 dimensions and some noise, and lie in the processor's cache in part.",
    ]


def rows(costs: Costs, count: int) -> list[list[str]]:
    """The table of one number of images."""
    return [
        [
            one.name,
            amount(one.bytes),
            f"{one.operations:.1e}" if one.operations else "–",
            hours(one.core_hours),
            hours(one.gpu_hours),
            hours(one.wall_hours),
            "–" if one.dollars == 0 else f"{one.dollars:,.{2 if one.dollars < 100 else 0}f}",
        ]
        for one in stages(costs, count, EPOCHS[count])
    ]


def loads(costs: Costs, count: int) -> dict[str, float]:
    """How many times over one machine is asked for what it has, or for a day of its time."""
    held = {one.name: one for one in stages(costs, count, EPOCHS[count])}
    train = next(one for name, one in held.items() if name.startswith("train"))
    return {
        "all pairs exactly, in time": held["anomalies or duplicates, exact"].wall_hours / 24,
        "representations in memory, twice": 2 * count * costs.vector / MEMORY,
        "ids in memory": count * 100 / MEMORY,
        "decoded pictures on disk": count * costs.pixels / DISK,
        "training on one GPU, in time": train.wall_hours / 24,
        f"embedding with {CORES} cores, in time": held["embed, decoding again"].wall_hours / 24,
        "the graph in memory": count * costs.hnsw_bytes / MEMORY,
        "the codes of IVF-PQ in memory": count * costs.ivfpq_bytes / MEMORY,
    }


def breaks(costs: Costs, count: int) -> list[str]:
    """What gives way first, worst first, and what to use then."""
    asked = sorted(loads(costs, count).items(), key=lambda one: -one[1])
    over = [f"{name} {times:,.1f} times" for name, times in asked if times > 1]
    first = (
        f"Breaks first, of one machine and a day: {', '.join(over)}."
        if over
        else f"Nothing breaks on one machine within a day; nearest to it: {asked[0][0]} "
        f"({asked[0][1]:.0%})."
    )
    held = {one.name: one for one in stages(costs, count, EPOCHS[count])}
    kept, array = held["photographs, kept encoded"].bytes, count * costs.vector
    passing = count * costs.vector / DISK_READ
    one_pass = count * costs.passed
    feeding = PEAK * USED / costs.forward * costs.decode
    drawing = PEAK * USED / costs.train * costs.views
    train = next(one for name, one in held.items() if name.startswith("train"))
    return [
        first,
        f"Storage: {amount(kept)} encoded, ${kept / 1e9 * DISK_PRICE:,.0f} a month; "
        f"{amount(count * costs.pixels)} decoded once at this size.",
        f"Embedding: one {GPU} takes what {feeding:,.0f} cores decode"
        + (
            "."
            if feeding <= CORES
            else f"; {CORES} keep it {CORES / feeding:.0%} busy. More cores (`--engine ray`), not "
            "more GPUs."
        ),
        f"Views: one {GPU} trains on what {drawing:,.0f} cores would draw, so it draws them.",
        f"Training: {hours(train.gpu_hours)} GPU-hours"
        + (f", {hours(train.gpu_hours / 64)} hours on 64 GPUs." if train.gpu_hours > 48 else "."),
        f"Representations in memory: {amount(array)}, "
        + (
            "which fits; `similar`, `anomalies` and `duplicates` may read the file."
            if 2 * array < MEMORY / 4
            else "too much beside copies of it: use `--index`, which maps them."
        ),
        f"All pairs exactly: {hours(held['anomalies or duplicates, exact'].core_hours)} "
        f"core-hours, by index {hours(held['anomalies or duplicates by index'].core_hours)}.",
        f"The farthest of one query: a pass of {hours(one_pass)} s of one core, and "
        f"{hours(passing)} s of reading where the vectors are not in memory.",
        f"Ids in memory, about 100 bytes each: {amount(count * 100.0)}"
        + (
            "."
            if count < 10**9
            else f", near the {MEMORY / 2**30:g} GiB there are: shard the set, "
            "one index a shard, or hand it to a vector store (`docs/guides/vector-stores.md`)."
        ),
    ]


def amount(count: float) -> str:
    """Bytes in a unit that suits."""
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return "–" if count == 0 else f"{count:,.0f} B"


def hours(count: float) -> str:
    """Hours with two or three digits."""
    return "–" if count == 0 else f"{count:,.0f}" if count >= 100 else f"{count:.2g}"
