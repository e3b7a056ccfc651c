"""A thousand damaged picture files, ten thousand in CI: no crash, no hang, no memory that grows.

The decoding runs in a process of its own (this file as a script), so that a crash in a decoder
written in C is a failed test and not the end of all of them.
"""

import gc
import io
import json
import resource
import struct
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WARM = 0.2  # of the files, after which buffers of Pillow's and the allocator's are there
KINDS = {
    "JPEG": ({}, {"progressive": True}, {"quality": 40, "subsampling": 2}),
    "PNG": ({}, {"optimize": True}),
    "WEBP": ({}, {"lossless": True}),
    "GIF": ({},),
    "BMP": ({},),
    "TIFF": ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}),
}
MODES = ("L", "RGB", "P", "RGBA", "CMYK", "I;16", "1")


def originals(rng: np.random.Generator) -> list[bytes]:
    """Whole files of every kind and mode, made of photographs and digits."""
    from sklearn.datasets import load_digits, load_sample_images

    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    digits = Image.fromarray(np.uint8(load_digits().images[7] * 15)).resize((24, 24))
    files = []
    for kind, variants in KINDS.items():
        for options in variants:
            for mode in MODES:
                left, top = (int(rng.integers(300)) for _ in range(2))
                for picture in (
                    photos[len(files) % 2].crop((left, top, left + 40, top + 32)),
                    digits,
                ):
                    exif = Image.Exif()
                    exif[0x0112] = int(rng.integers(1, 9))
                    grey = picture.convert("L").convert("I;16") if mode == "I;16" else None
                    file = io.BytesIO()
                    try:
                        (grey or picture.convert(mode)).save(file, kind, exif=exif, **options)
                    except (OSError, ValueError, KeyError):
                        continue  # not every kind has every mode
                    files.append(file.getvalue())
    return files


def damaged(whole: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The file with one to three injuries."""
    data = bytearray(whole)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(data) + 1))
        count = int(rng.integers(1, 33))
        # Heads are where sizes and offsets are, so a third of the injuries are there.
        near = int(rng.integers(min(64, len(data)) + 1)) if rng.random() < 0.3 else at
        match int(rng.integers(12)):
            case 0:
                del data[at:]
            case 1:
                del data[near : near + count]
            case 2:
                data[near:near] = rng.bytes(count)
            case 3:
                data[near : near + count] = rng.bytes(min(count, len(data) - near))
            case 4:
                data[near : near + 4] = struct.pack(
                    "<I", int(rng.choice([0, 1, 255, 65535, 2**31]))
                )
            case 5:
                data[near : near + 2] = b"\xff\xff"
            case 6:
                data[at : at + count] = data[near : near + count]
            case 7:
                data[at:] = other[at:]
            case _ if near < len(data):
                data[near] ^= 1 << int(rng.integers(8))
    return bytes(data)


def main(seed: int, count: int) -> None:
    """Decodes damaged files and says on standard output how that went, as JSON."""
    from vicinal.errors import InputError
    from vicinal.images.decoding import decode

    warnings.simplefilter("ignore")
    rng = np.random.default_rng(seed)
    whole = originals(rng)
    assert all(decode(file, "", size=16, channels=None, pad=False).any() for file in whole)
    said: Counter[str] = Counter()
    slowest, warm = 0.0, 0
    for number in range(count):
        first, second = (whole[int(rng.integers(len(whole)))] for _ in range(2))
        file = damaged(first, second, rng)
        began = time.process_time()
        try:
            pixels = decode(file, f"file {number}", size=16, channels=None, pad=number % 2 == 0)
            assert pixels.dtype == np.uint8
            assert pixels.shape in ((16, 16, 1), (16, 16, 3)), pixels.shape
            said["decoded"] += 1
        except InputError as error:
            said["refused"] += 1
            said["unclear"] += "\n" in str(error) or not str(error).startswith(f"file {number}: ")
        slowest = max(slowest, time.process_time() - began)
        if number == int(WARM * count):
            warm = resident()
    found = {"slowest": slowest, "grown": resident() - warm, "kinds": len(whole)}
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(said | found))


def resident() -> int:
    """Bytes in memory now."""
    gc.collect()
    text = Path("/proc/self/statm").read_text()
    return int(text.split()[1]) * resource.getpagesize()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory as Linux shows it")
@pytest.mark.parametrize("files", [1_000, pytest.param(10_000, marks=pytest.mark.ci)])
def test_no_damaged_file_crashes_hangs_or_leaks(files: int) -> None:
    script = [sys.executable, __file__, "0", str(files)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["kinds"] > 80
    assert found["decoded"] + found["refused"] == files
    assert found["unclear"] == 0
    assert min(found["decoded"], found["refused"]) > files / 10  # both ways are gone
    assert found["slowest"] < 20  # seconds: a file that says it has 179 million pixels is allowed
    assert found["grown"] < 64 << 20
    assert found["peak"] < 4 << 30


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
