"""The guide's programs, as they stand in it: what a store finds is what the exact search finds."""

from pathlib import Path

import numpy as np
import pytest

import forked
from vicinal.representations.neighbours import nearest
from vicinal.representations.representations import Representations

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "vector-stores.md").read_text("utf-8")
LANCE, QDRANT = (part.split("```")[0] for part in GUIDE.split("```python\n")[1:])


@pytest.mark.parametrize(
    ("program", "module", "package"),
    [(LANCE, "lance", "pylance"), (QDRANT, "qdrant_client", "qdrant-client")],
    ids=["lance", "qdrant"],
)
def test_a_store_finds_what_the_exact_search_finds(
    program: str, module: str, package: str, tmp_path: Path
) -> None:
    pytest.importorskip(module, reason=f"this part of the guide needs {package}")
    array = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    ids = np.array([f"beach/{i:04d}.jpg" for i in range(len(array))])
    labels = np.array(["sea", "sand"] * 150)
    Representations(array, ids, labels=labels).save(tmp_path / "photos.parquet")
    done = forked.run(program=program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    truth = nearest(array, array, 5, exclude_self=True)
    assert [line[0] for line in lines] == ids[truth.indices[7]].tolist()
    said = [float(line[1]) for line in lines]
    np.testing.assert_allclose(said, truth.distances[7], rtol=1e-4)
