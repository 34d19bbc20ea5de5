"""Debug mode: ranks that make one array of different values hear it, all of them, at that line."""

from __future__ import annotations

from jobs import alone, run

# What is made, the operation, and what the error says of it.
CASES = [
    ("xp.asarray(np.ones(2 + r), split=0)", "asarray", "obj.shape is (2,) on rank 0, (3,) on"),
    ("xp.asarray([1, 2 + r])", "asarray", "the checksum of obj's values is"),
    ("xp.asarray(1 + r)", "asarray", "the checksum of obj's values is"),
    ("xp.asarray([1, 2.5][: 2 - r])", "asarray", "obj.dtype is float64 on rank 0, int64 on rank 1"),
    ("xp.asarray([1, 2] if r else object())", "asarray", "obj is TypeError: asarray: cannot make"),
    ("xp.asarray([1.0, 2.0], split=r or None)", "asarray", "split is None on rank 0, 1 on rank 1"),
    ("xp.asarray(torch.ones(2 + r))", "asarray", "obj.shape is"),
    ("xp.from_dlpack(torch.ones(2) * r)", "from_dlpack", "the checksum of x's values is"),
    ("xp.from_local(np.ones(2) * r)", "from_local", "the checksum of local's values is"),
    ("xp.full(3, r)", "full", "fill_value is 0 on rank 0, 1 on rank 1"),
    ("xp.full_like(x, float(r))", "full_like", "fill_value is 0.0 on rank 0, 1.0 on rank 1"),
    ("xp.zeros((2, 2 + r), split=0)", "zeros", "shape is (2, 2) on rank 0, (2, 3) on rank 1"),
    ("xp.ones(3, dtype=[xp.float32, xp.int8][r])", "ones", "dtype is <class 'numpy.float32'> on"),
    ("xp.eye(2 + r)", "eye", "shape is (2, 2) on rank 0, (3, 3) on rank 1"),
    ("xp.arange(r, 5, split=0)", "arange", "start is 0 on rank 0, 1 on rank 1"),
    ("xp.arange(5, step=1 + r)", "arange", "step is 1 on rank 0, 2 on rank 1"),
    ("xp.linspace(0, 1, 3 + r)", "linspace", "num is 3 on rank 0, 4 on rank 1"),
    ("x.__setitem__(0, float(r))", "__setitem__", "value is 0.0 on rank 0, 1.0 on rank 1"),
    ("x.__setitem__(..., np.ones(4) * r)", "__setitem__", "the checksum of obj's values is"),
    ("x + r", "__add__", "x2 is 0 on rank 0, 1 on rank 1"),
    ("xp.maximum(x, float(r))", "maximum", "x2 is 0.0 on rank 0, 1.0 on rank 1"),
    ("x * np.ones(4 + r)", "__mul__", "x2.shape is (4,) on rank 0, (5,) on rank 1"),
]  # fmt: skip

PROGRAM = """
    import numpy as np
    import torch
    import heat_array_api as xp
    r = xp.world().rank
    x = xp.ones(4, split=0)
    for i, text in enumerate({texts!r}):
        try:
            eval(text)
        except BaseException as error:
            print(f"\\n@{{i}} {{r}} {{type(error).__name__}} {{error}}", flush=True)
        x + 1.0
    assert float(xp.sum(x)) == 4.0
    """


@alone
def test_what_differs_is_named_on_all_ranks():
    job = run(PROGRAM.format(texts=[c[0] for c in CASES]), ranks=2, HEAT_ARRAY_API_DEBUG="1")
    assert job.returncode == 0, job.stderr
    wrong = []
    for i, (text, operation, match) in enumerate(CASES):
        for rank in range(2):
            said = [line for line in job.stdout.splitlines() if line.startswith(f"@{i} {rank} ")]
            start = f"@{i} {rank} CollectiveMismatchError {operation}: the ranks make different"
            if len(said) != 1 or not said[0].startswith(start) or match not in said[0]:
                wrong.append((text, rank, said))
    assert not wrong


@alone
def test_ranks_that_agree_are_left_alone():
    """Equal values, of one rank alone where its communicator is, and in other threads."""
    job = run(
        """
        import threading
        import numpy as np
        import heat_array_api as xp
        world = xp.world()
        x = xp.asarray(np.arange(6.0), split=0)
        x[1:3] = [7.0, np.nan]
        x = xp.where(xp.isnan(x), 0.0, x) + np.ones(6) * 2
        alone = world.split(world.rank)
        y = xp.full(3, world.rank, comm=alone) + world.rank
        z = xp.from_local(np.ones(2) * world.rank, split=0)
        thread = threading.Thread(target=lambda: xp.asarray([world.rank]))
        thread.start()
        thread.join()
        f = xp.compile(lambda x: xp.sum(x * 2 + xp.asarray([1.0])))
        assert float(f(x)) == 2 * float(xp.sum(x)) + 6
        sums = float(xp.sum(x)), float(xp.sum(y)), float(xp.sum(z))
        print(f"\\n{sums}\\n", end="", flush=True)
        """,
        ranks=3,
        HEAT_ARRAY_API_DEBUG="1",
    )
    assert job.returncode == 0, job.stderr
    for rank in range(3):
        assert f"(31.0, {rank * 6}.0, 6.0)" in job.stdout


@alone
def test_an_array_that_one_rank_alone_makes():
    job = run(
        """
        import heat_array_api as xp
        if xp.world().rank == 0:
            xp.asarray([1.0])
        xp.sum(xp.ones(3, split=0))
        """,
        ranks=2,
        HEAT_ARRAY_API_DEBUG="1",
    )
    assert job.returncode != 0
    assert "rank 0: asarray: makes an array" in job.stderr
    assert "rank 1: ones: makes an array" in job.stderr
