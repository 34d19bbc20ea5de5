"""Whole workloads: ours at 2 ranks against one process of torch (2 threads), NumPy, dask, Heat.

    python benchmarks/workloads.py                  # everything that is installed
    python benchmarks/workloads.py --only sort xtx --repeats 5

The driver starts one job per library, in turn, `rounds` times over, and prints the median seconds
of each and its ratio to torch's of the same run. Ours and Heat run under `mpirun -n 2` (`--ranks`),
the others in one process with as many threads as ours has ranks. Every library gets the same
program where it can (array-API code), else what its users would write.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

ESTIMATORS = ("pca", "ridge", "mixture")
"""scikit-learn's, by `array_api_dispatch`: ours, torch and NumPy only."""
WORKLOADS = ("kmeans", "zscore", "xtx", "sort", "logistic", *ESTIMATORS)
# A namespace, how to make an operand, how to wait for a result, this process's rank.
Setup = tuple[Any, Callable[..., Any], Callable[[Any], None], int]

PEERS = ("ours", "torch", "numpy", "dask", "heat")


def kmeans(xp: Any, x: Any, centers: Any) -> Any:
    """Five Lloyd iterations in the broadcasting form of the HeAT paper."""
    for _ in range(5):
        distances = xp.sum((x[:, None, :] - centers[None, :, :]) ** 2, axis=2)
        labels = xp.argmin(distances, axis=1)
        means = []
        for k in range(centers.shape[0]):
            mask = xp.astype(labels == k, x.dtype)[:, None]
            means.append(xp.sum(x * mask, axis=0) / xp.sum(mask))
        centers = xp.stack(means)
    return centers


def zscore(xp: Any, x: Any) -> Any:
    return (x - xp.mean(x, axis=0)) / xp.std(x, axis=0)


def xtx(xp: Any, x: Any) -> Any:
    return xp.matmul(xp.matrix_transpose(x), x)


def sort(xp: Any, x: Any) -> Any:
    return xp.sort(x)


def logistic(xp: Any, x: Any, y: Any, w: Any) -> Any:
    """The gradient of a logistic regression: by derivatives of the library, else by hand."""

    def loss(w: Any) -> Any:
        z = xp.matmul(x, w)
        return xp.mean(xp.logaddexp(z, xp.zeros_like(z)) - y * z)

    if xp.__name__ == "heat_array_api":
        return xp.autograd.grad(loss)(w)
    if "torch" in xp.__name__:
        w = w.detach().requires_grad_()
        loss(w).backward()
        return w.grad
    z = xp.matmul(x, w)
    return xp.matmul(xp.matrix_transpose(x), 1 / (1 + xp.exp(-z)) - y) / x.shape[0]


def fitted(estimator: Any, *operands: Any) -> Any:
    from sklearn import config_context

    with config_context(array_api_dispatch=True):
        return estimator.fit(*operands)


def pca(xp: Any, x: Any) -> Any:
    from sklearn.decomposition import PCA

    return fitted(PCA(8, svd_solver="covariance_eigh"), x).components_


def ridge(xp: Any, x: Any, y: Any) -> Any:
    """By the solver that scikit-learn offers for arrays of any namespace."""
    from sklearn.linear_model import Ridge

    return fitted(Ridge(solver="svd"), x, y).coef_


def mixture(xp: Any, x: Any) -> Any:
    """Five full covariances; of data without clusters, so that all iterations are done."""
    from sklearn.mixture import GaussianMixture

    estimator = GaussianMixture(
        5, init_params="random_from_data", random_state=0, max_iter=10, tol=0.0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged: it is not to
        return fitted(estimator, x).means_


def arguments(name: str, make: Callable[..., Any]) -> tuple[Any, ...]:
    """Return a workload's operands; ``make(shape, dtype, replicated)`` draws uniform numbers."""
    if name == "kmeans":
        return make((1_000_000, 16), "float64", False), make((8, 16), "float64", True)
    if name == "zscore":
        return (make((4_000_000, 32), "float32", False),)
    if name == "xtx":
        return (make((1_000_000, 128), "float32", False),)
    if name == "logistic":
        n = 1_000_000
        return (
            make((n, 64), "float64", False),
            make((n,), "float64", False),
            make((64,), "float64", True),
        )
    if name == "pca":
        return (make((1_000_000, 64), "float64", False),)
    if name == "ridge":
        return make((1_000_000, 64), "float64", False), make((1_000_000,), "float64", False)
    if name == "mixture":
        return (make((200_000, 16), "float64", False),)
    return (make((20_000_000,), "float32", False),)


# ---------------------------------------------------------------------- one library's job


def setup_ours() -> Setup:
    import numpy as np

    import heat_array_api as xp

    comm = xp.world()

    def make(shape: tuple[int, ...], dtype: str, replicated: bool) -> Any:
        if replicated:
            return xp.asarray(np.random.default_rng(0).random(shape).astype(dtype), split=None)
        layout = xp.Layout.balanced(shape, 0, comm)
        rng = np.random.default_rng(1 + comm.rank)
        return xp.from_local(rng.random(layout.local_shape, dtype=dtype), split=0)

    return xp, make, lambda _: comm.barrier(), comm.rank


def setup_process(peer: str, threads: int) -> Setup:
    import numpy as np

    rng = np.random.default_rng(1)
    if peer == "torch":
        import array_api_compat.torch as xp
        import torch

        torch.set_num_threads(threads)
        return (
            xp,
            lambda s, d, r: torch.from_numpy(rng.random(s, dtype=d)),
            lambda _: None,
            0,
        )
    if peer == "dask":
        import array_api_compat.dask.array as xp
        import dask.array as da

        def make(shape: tuple[int, ...], dtype: str, replicated: bool) -> Any:
            chunks = shape if replicated else (-(-shape[0] // (4 * threads)), *shape[1:])
            return da.from_array(rng.random(shape, dtype=dtype), chunks=chunks).persist()

        return xp, make, lambda result: result.persist(), 0
    import array_api_compat.numpy as xp

    return xp, lambda s, d, r: rng.random(s, dtype=d), lambda _: None, 0


def setup_heat() -> Setup:
    import heat as ht

    class Namespace:
        """Heat's functions under the standard's names."""

        exp = ht.exp
        sum, mean, std, argmin, stack = ht.sum, ht.mean, ht.std, ht.argmin, ht.stack
        matmul = ht.matmul

        @staticmethod
        def astype(x: Any, dtype: Any) -> Any:
            return x.astype(dtype)

        @staticmethod
        def matrix_transpose(x: Any) -> Any:
            return ht.transpose(x)

        @staticmethod
        def sort(x: Any) -> Any:
            return ht.sort(x)[0]

    def make(shape: tuple[int, ...], dtype: str, replicated: bool) -> Any:
        return ht.random.rand(*shape, dtype=getattr(ht, dtype), split=None if replicated else 0)

    return Namespace, make, lambda _: ht.MPI_WORLD.Barrier(), ht.MPI_WORLD.rank


def worker(peer: str, names: list[str], repeats: int, threads: int) -> None:
    if peer == "ours":
        xp, make, finish, rank = setup_ours()
    elif peer == "heat":
        xp, make, finish, rank = setup_heat()
    else:
        xp, make, finish, rank = setup_process(peer, threads)
    results = {}
    for name in names:
        if name in ESTIMATORS and peer not in ("ours", "torch", "numpy"):
            results[name] = "no array-API dispatch"
            continue
        operands = arguments(name, make)
        times = []
        try:
            for _ in range(repeats + 1):
                finish(operands[0])
                start = time.perf_counter()
                finish(globals()[name](xp, *operands))
                times.append(time.perf_counter() - start)
        except (AttributeError, TypeError, NotImplementedError, ValueError) as error:
            results[name] = f"{type(error).__name__}: {error}"[:60]
            continue
        results[name] = statistics.median(times[1:])  # type: ignore[assignment]
        del operands
    if rank == 0:
        print("RESULT " + json.dumps(results))


# ---------------------------------------------------------------------- the driver


def run_job(peer: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--worker", peer, "--repeats", str(options.repeats)]
    command += ["--ranks", str(options.ranks), "--only", *options.only]
    if peer in ("ours", "heat"):
        beside = os.path.join(os.path.dirname(sys.executable), "mpirun")
        mpirun = beside if os.path.exists(beside) else shutil.which("mpirun") or "mpirun"
        command = [mpirun, "-n", str(options.ranks), *command]
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}  # scikit-learn's dispatch asks for it
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=1800, env=environment
    )
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return dict(json.loads(line.removeprefix("RESULT ")))
    return dict.fromkeys(options.only, done.stderr.strip().splitlines()[-1][:60] or "failed")


def installed(peer: str) -> bool:
    module = {"ours": "heat_array_api", "numpy": "numpy", "torch": "torch"}.get(peer, peer)
    return importlib.util.find_spec(module) is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", choices=PEERS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.only, options.repeats, options.ranks)
        return
    peers = [peer for peer in options.peers if installed(peer)]
    rounds = [{peer: run_job(peer, options) for peer in peers} for _ in range(options.rounds)]
    print(f"median seconds of {options.rounds} rounds (ratio to torch, round by round)")
    print(f"{'workload':10}" + "".join(f"{peer:>20}" for peer in peers))
    for name in options.only:
        row = f"{name:10}"
        for peer in peers:
            values = [r[peer].get(name, "failed") for r in rounds]
            if any(isinstance(v, str) for v in values):
                row += f"{'failed':>20}"
                print(f"  {peer} {name}: {values[0]}", file=sys.stderr)
                continue
            seconds = statistics.median(values)
            base = [r.get("torch", {}).get(name) for r in rounds]
            both = [(v, b) for v, b in zip(values, base, strict=True) if isinstance(b, float)]
            ratio = statistics.median(v / b for v, b in both) if both else float("nan")
            row += f"{seconds:>12.3f} ({ratio:5.2f})"
        print(row, flush=True)


if __name__ == "__main__":
    main()
