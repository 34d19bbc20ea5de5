"""Compiled functions against the peers: the same work, as the users of each library would write it.

    python benchmarks/peers.py                                   # what this Python has
    python benchmarks/peers.py --python build/peers/bin/python   # jax, dask, Heat from another one
    python benchmarks/peers.py --write docs/compile.md           # put the table into the docs

Ours runs under ``mpirun -n 2`` with one thread a rank, eager and compiled; torch, so too,
NumPy, jax and dask in one process with two threads; Heat with two ranks. Each is a job of its
own, `--rounds` times in turn; the least time of all counts, so that what else the machine does
matters little. Compiling is not part of it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

PEERS = {
    "ours": "ours, eager, 2 ranks",
    "ours-compiled": "ours, compiled, 2 ranks",
    "torch": "torch, eager, 2 threads",
    "torch-compiled": "torch.compile, 2 threads",
    "numpy": "NumPy",
    "jax": "jax.jit",
    "dask": "dask",
    "heat": "Heat, 2 ranks",
}
WORKLOADS = {
    "kmeans": "k-means step, 1e6 x 16, k = 8",
    "zscore": "z-score, 4e6 x 32, float32",
    "chain": "sqrt(x*x+1)*exp(-x)+sin(x), 16e6",
    "logistic": "gradient of a logistic loss, 1e6 x 64",
    "jacobi": "Jacobi step by slices, 4000 x 4000",
    "entropy": "softmax cross-entropy, 1e6 x 64, float32",
}
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"


# ---------------------------------------------------------------------- the programs


def kmeans(xp: Any, x: Any, centers: Any) -> Any:
    distances = xp.sum((x[:, None, :] - centers[None, :, :]) ** 2, axis=2)
    labels = xp.argmin(distances, axis=1)
    means = []
    for k in range(centers.shape[0]):
        mask = (labels == k)[:, None]
        means.append(xp.sum(xp.where(mask, x, 0.0), axis=0) / xp.sum(xp.where(mask, 1.0, 0.0)))
    return xp.stack(means)


def zscore(xp: Any, x: Any) -> Any:
    return (x - xp.mean(x, axis=0)) / xp.std(x, axis=0)


def chain(xp: Any, x: Any) -> Any:
    return xp.sqrt(x * x + 1) * xp.exp(-x) + xp.sin(x)


def jacobi(xp: Any, u: Any) -> Any:
    inner = (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]) * 0.25
    if "jax" in xp.__name__:
        return u.at[1:-1, 1:-1].set(inner)
    v = u * 1.0
    v[1:-1, 1:-1] = inner
    return v


def entropy(xp: Any, logits: Any, labels: Any) -> Any:
    shifted = logits - xp.max(logits, axis=1)[:, None]
    chosen = labels[:, None] == xp.arange(logits.shape[1])[None, :]
    right = xp.sum(xp.where(chosen, shifted, 0.0), axis=1)
    return xp.mean(xp.log(xp.sum(xp.exp(shifted), axis=1)) - right)


def logistic(xp: Any, w: Any, x: Any, y: Any) -> Any:
    """The gradient: by derivatives of the library where it has them, else by hand."""
    if "torch" in xp.__name__:
        import torch

        loss = torch.func.grad(lambda w: _loss(xp, w, x, y))
        return loss(w)
    if "jax" in xp.__name__:
        import jax

        return jax.grad(lambda w: _loss(xp, w, x, y))(w)
    if xp.__name__ == "heat_array_api":
        return xp.autograd.grad(lambda w: _loss(xp, w, x, y))(w)
    z = xp.matmul(x, w)
    return xp.matmul(1 / (1 + xp.exp(-z)) - y, x) / x.shape[0]


def _loss(xp: Any, w: Any, x: Any, y: Any) -> Any:
    z = xp.matmul(x, w)
    return xp.mean(xp.logaddexp(z, xp.zeros_like(z)) - y * z)


def arguments(name: str, make: Callable[..., Any]) -> tuple[Any, ...]:
    """Return the operands; ``make(shape, dtype, replicated, most)`` draws numbers below `most`."""
    if name == "kmeans":
        return make((1_000_000, 16), "float64"), make((8, 16), "float64", True)
    if name == "zscore":
        return (make((4_000_000, 32), "float32"),)
    if name == "chain":
        return (make((16_000_000,), "float64"),)
    if name == "logistic":
        n = 1_000_000
        return make((64,), "float64", True), make((n, 64), "float64"), make((n,), "float64")
    if name == "jacobi":
        return (make((4000, 4000), "float64"),)
    return make((1_000_000, 64), "float32"), make((1_000_000,), "int64", False, 64)


# ---------------------------------------------------------------------- the libraries


def draw(seed: int, shape: tuple[int, ...], dtype: str, most: int) -> Any:
    import numpy as np

    rng = np.random.default_rng(seed)
    if dtype == "int64":
        return rng.integers(0, most, shape)
    return rng.random(shape, dtype=dtype)


# A namespace, how to make an operand, how to compile, how to wait for a result, the rank.
Setup = tuple[Any, Callable[..., Any], Callable[..., Any], Callable[[Any], Any], int]


def setup_ours(peer: str) -> Setup:
    import heat_array_api as xp

    comm = xp.world()

    def make(shape: Any, dtype: str, replicated: bool = False, most: int = 0) -> Any:
        if replicated:
            return xp.asarray(draw(0, shape, dtype, most), split=None)
        layout = xp.Layout.balanced(shape, 0, comm)
        return xp.from_local(draw(1 + comm.rank, layout.local_shape, dtype, most), split=0)

    compiler = xp.compile(fullgraph=True) if peer == "ours-compiled" else lambda f: f
    return xp, make, compiler, lambda _: comm.barrier(), comm.rank


def setup_torch(peer: str) -> Setup:
    import array_api_compat.torch as xp
    import torch

    torch.set_num_threads(2)

    def make(shape: Any, dtype: str, replicated: bool = False, most: int = 0) -> Any:
        return torch.from_numpy(draw(1, shape, dtype, most))

    compiler = torch.compile if peer == "torch-compiled" else lambda f: f
    return xp, make, compiler, lambda _: None, 0


def setup_numpy(peer: str) -> Setup:
    import numpy as np

    def make(shape: Any, dtype: str, replicated: bool = False, most: int = 0) -> Any:
        return draw(1, shape, dtype, most)

    return np, make, lambda f: f, lambda _: None, 0


def setup_jax(peer: str) -> Setup:
    import jax
    import jax.numpy as xp

    jax.config.update("jax_enable_x64", True)

    def make(shape: Any, dtype: str, replicated: bool = False, most: int = 0) -> Any:
        return xp.asarray(draw(1, shape, dtype, most))

    return xp, make, jax.jit, jax.block_until_ready, 0


def setup_dask(peer: str) -> Setup:
    import dask.array as da
    import dask.config

    dask.config.set(num_workers=2)

    def make(shape: Any, dtype: str, replicated: bool = False, most: int = 0) -> Any:
        chunks = shape if replicated else (-(-shape[0] // 8), *shape[1:])
        return da.from_array(draw(1, shape, dtype, most), chunks=chunks).persist()

    return da, make, lambda f: f, lambda result: result.persist(), 0


def setup_heat(peer: str) -> Setup:
    import heat as ht

    def make(shape: Any, dtype: str, replicated: bool = False, most: int = 0) -> Any:
        split = None if replicated else 0
        if dtype == "int64":
            return ht.random.randint(0, most, shape, split=split)
        return ht.random.rand(*shape, dtype=getattr(ht, dtype), split=split)

    return ht, make, lambda f: f, lambda _: ht.MPI_WORLD.Barrier(), ht.MPI_WORLD.rank


SETUPS = {"ours": setup_ours, "torch": setup_torch}
SETUPS |= {"numpy": setup_numpy, "jax": setup_jax, "dask": setup_dask, "heat": setup_heat}


def worker(peer: str, name: str, repeats: int) -> None:
    xp, make, compiler, finish, rank = SETUPS[peer.partition("-")[0]](peer)
    operands = arguments(name, make)
    program = globals()[name]
    f = compiler(lambda *args: program(xp, *args))
    times = []
    for _ in range(repeats + 1):
        finish(operands[0])
        start = time.perf_counter()
        finish(f(*operands))
        times.append(time.perf_counter() - start)
    if rank == 0:
        print("RESULT " + json.dumps({"first": times[0], "best": min(times[1:])}))


# ---------------------------------------------------------------------- the driver


def run_job(peer: str, name: str, options: argparse.Namespace) -> dict[str, float] | str:
    """Run one library's job; return its times, or why there are none."""
    python = options.python if peer in ("jax", "dask", "heat") else sys.executable
    command = [python, __file__, "--worker", peer, "--only", name]
    command += ["--repeats", str(options.repeats)]
    if peer.startswith("ours") or peer == "heat":
        beside = os.path.join(os.path.dirname(sys.executable), "mpirun")
        mpirun = beside if os.path.exists(beside) else shutil.which("mpirun") or "mpirun"
        command = [mpirun, "-n", "2", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return dict(json.loads(line.removeprefix("RESULT ")))
    lines = [line for line in done.stderr.splitlines() if "Error" in line] or ["failed"]
    return lines[-1].strip()[-100:]


def table(results: dict[str, dict[str, Any]], peers: list[str]) -> str:
    lines = ["| seconds | " + " | ".join(PEERS[peer] for peer in peers) + " |"]
    lines.append("|---" * (len(peers) + 1) + "|")
    for name, row in results.items():
        if not row:
            continue
        best = min((t for t in row.values() if isinstance(t, float)), default=0.0)
        cells = []
        for peer in peers:
            t = row.get(peer)
            text = f"{t:.3f}" if isinstance(t, float) else "no"
            cells.append(f"**{text}**" if t == best else text)
        lines.append(f"| {WORKLOADS[name]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(path: str, text: str) -> None:
    with open(path, encoding="utf-8") as file:
        before, _, rest = file.read().partition(BEGIN)
    after = rest.partition(END)[2]
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--python", default=sys.executable, help="that has jax, dask and Heat")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--write", metavar="FILE", help="put the table between its markers")
    parser.add_argument("--results", metavar="FILE", help="JSON of former runs, to be added to")
    parser.add_argument("--worker", choices=PEERS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.only[0], options.repeats)
        return
    results: dict[str, dict[str, Any]] = {name: {} for name in WORKLOADS}
    if options.results and os.path.exists(options.results):
        with open(options.results, encoding="utf-8") as file:
            results |= json.load(file)
    for name in options.only:
        for _ in range(options.rounds):
            for peer in options.peers:
                found = run_job(peer, name, options)
                if isinstance(found, str):
                    print(f"{name:10}{peer:16} {found}", file=sys.stderr, flush=True)
                    continue
                text = f"{name:10}{peer:16}{found['best']:9.3f}  first {found['first']:.1f}"
                print(text, flush=True)
                least = min(found["best"], results[name].get(peer, found["best"]))
                results[name][peer] = least
                if options.results:
                    with open(options.results, "w", encoding="utf-8") as file:
                        json.dump(results, file)
                if options.write:
                    write(options.write, table(results, options.peers))
    print(table(results, options.peers))


if __name__ == "__main__":
    main()
