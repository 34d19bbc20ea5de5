"""SciPy's rotations, clusters, interpolants, matrices and units on distributed arrays."""

# ruff: noqa: PLW0108 - the parameters of a case name its samples

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import constants, interpolate, linalg
from scipy._lib._array_api import array_namespace, xp_capabilities_table
from scipy.cluster import hierarchy, vq
from scipy.spatial.transform import RigidTransform, Rotation, Slerp

import heat_array_api as xp
from agnostic import compare, layout_of, samples
from consumers import ROWS, W, entries, rows, stays_distributed
from layouts import make


def data(n: int, dtype: Any = np.float64) -> dict[str, np.ndarray]:
    """Return samples by the names that the cases call them."""
    rng = np.random.default_rng(11)
    quaternions = rng.normal(size=(2, n, 4))
    quaternions /= np.linalg.norm(quaternions, axis=-1, keepdims=True)
    values = {
        "x": rng.normal(size=(n, 3)),
        "y": rng.normal(size=(n, 3)),
        "v": rng.uniform(0.5, 3, size=n),
        "q": quaternions[0],
        "r": quaternions[1],
        "angles": rng.uniform(-1.5, 1.5, size=(n, 3)),
        "times": np.linspace(0, 1, 7),
        "knots": np.linspace(0, 5, 12),
        "few": rng.normal(size=(12, 2)),
    }
    return {name: value.astype(dtype) for name, value in values.items()}


def matrices(angles: Any) -> Any:
    return Rotation.from_euler("xyz", angles).as_matrix()


def scaled(rotation: Any) -> Any:
    """Return a rotation's quaternion with a positive real part: both signs are the same."""
    return rotation.as_quat(canonical=True)


def rigid(q: Any, x: Any) -> Any:
    return RigidTransform.from_components(x, Rotation.from_quat(q))


def slerp(times: Any, q: Any) -> Any:
    path = Slerp(times, Rotation.from_quat(q[:7, :]))
    return scaled(path(array_namespace(times).asarray([0.1, 0.55, 0.9])))


def assigned(q: Any, r: Any) -> Any:
    rotation = Rotation.from_quat(q)
    rotation[2:5] = Rotation.from_quat(r)[2:5]
    return scaled(rotation)


def assigned_rigid(q: Any, x: Any, y: Any) -> Any:
    moved = rigid(q, x)
    moved[1:4] = rigid(q, y)[1:4]
    return moved.as_matrix()


E = Rotation.from_euler
QUAT = Rotation.from_quat
CASES = {
    "cluster.vq.whiten": lambda x: vq.whiten(x),
    "constants.convert_temperature": lambda v: constants.convert_temperature(v, "C", "F"),
    "constants.lambda2nu": lambda v: constants.lambda2nu(v),
    "constants.nu2lambda": lambda v: constants.nu2lambda(v),
    "linalg.block_diag": lambda few, knots: linalg.block_diag(few, knots, few.T),
    "linalg.fiedler": lambda knots: linalg.fiedler(knots),
    "linalg.orthogonal_procrustes": lambda x, y: linalg.orthogonal_procrustes(x, y + 2 * x),
    "spatial.transform.Rotation.from_quat": lambda q: (
        QUAT(2 * q).as_quat(),
        QUAT(q, scalar_first=True).as_quat(scalar_first=True),
    ),
    "spatial.transform.Rotation.as_quat": lambda q: QUAT(q).as_quat(canonical=True),
    "spatial.transform.Rotation.from_matrix": lambda angles: scaled(
        Rotation.from_matrix(matrices(angles) * 1.01)
    ),
    "spatial.transform.Rotation.as_matrix": lambda q: QUAT(q).as_matrix(),
    "spatial.transform.Rotation.from_rotvec": lambda x: Rotation.from_rotvec(x).as_quat(),
    "spatial.transform.Rotation.as_rotvec": lambda q: QUAT(q).as_rotvec(degrees=True),
    "spatial.transform.Rotation.from_mrp": lambda x: Rotation.from_mrp(x / 4).as_quat(),
    "spatial.transform.Rotation.as_mrp": lambda q: QUAT(q).as_mrp(),
    "spatial.transform.Rotation.from_euler": lambda angles, v: (
        E("zyx", angles).as_quat(),
        E("ZYX", angles, degrees=True).as_quat(),
        E("x", v[:, None]).as_quat(),
    ),
    "spatial.transform.Rotation.as_euler": lambda angles: E("zyx", angles).as_euler("zyx"),
    "spatial.transform.Rotation.from_davenport": lambda angles: scaled(
        Rotation.from_davenport(axes(angles), "extrinsic", angles)
    ),
    "spatial.transform.Rotation.as_davenport": lambda angles: E("zyx", angles).as_davenport(
        axes(angles), "extrinsic"
    ),
    "spatial.transform.Rotation.inv": lambda q: QUAT(q).inv().as_quat(),
    "spatial.transform.Rotation.magnitude": lambda q: QUAT(q).magnitude(),
    "spatial.transform.Rotation.approx_equal": lambda q, r: (
        QUAT(q).approx_equal(QUAT(-q)),
        QUAT(q).approx_equal(QUAT(r), atol=1.0),
    ),
    "spatial.transform.Rotation.mean": lambda angles, v: (
        scaled(E("xyz", angles / 3).mean()),
        scaled(E("xyz", angles / 3).mean(weights=v)),
    ),
    "spatial.transform.Rotation.reduce": lambda q, angles: scaled(
        QUAT(q).reduce(E("xyz", angles[:3, :]), E("zyx", angles[3:5, :]))
    ),
    "spatial.transform.Rotation.apply": lambda q, x: (
        QUAT(q).apply(x),
        QUAT(q).apply(x, inverse=True),
        QUAT(q[0, ...]).apply(x),
    ),
    "spatial.transform.Rotation.align_vectors": lambda x, q: (
        scaled(Rotation.align_vectors(QUAT(q[0, ...]).apply(x), x)[0]),
        Rotation.align_vectors(QUAT(q[0, ...]).apply(x), x + 0.1)[1],
    ),
    "spatial.transform.Rotation.concatenate": lambda q, r: Rotation.concatenate(
        [QUAT(q), QUAT(r)]
    ).as_quat(),
    "spatial.transform.Rotation.__getitem__": lambda q: (
        QUAT(q)[3].as_quat(),
        QUAT(q)[2:9].as_quat(),
        QUAT(q)[q[:, 0] > 0].as_quat(),
    ),
    "spatial.transform.Rotation.__setitem__": assigned,
    "spatial.transform.Rotation.__mul__": lambda q, r: (QUAT(q) * QUAT(r)).as_quat(),
    "spatial.transform.Rotation.__pow__": lambda q: (
        scaled(QUAT(q) ** 2.5),
        scaled(QUAT(q) ** -1),
    ),
    "spatial.transform.Rotation.__iter__": lambda q: [scaled(one) for one in QUAT(q[:3, :])],
    "spatial.transform.Rotation.__repr__": lambda q: repr(QUAT(q[:2, :]))[:8],
    "spatial.transform.Slerp.__init__": slerp,
    "spatial.transform.Slerp.__call__": slerp,
    "spatial.transform.RigidTransform.from_components": lambda q, x: rigid(q, x).as_matrix(),
    "spatial.transform.RigidTransform.as_components": lambda q, x: (
        rigid(q, x).as_components()[0],
        scaled(rigid(q, x).as_components()[1]),
    ),
    "spatial.transform.RigidTransform.from_matrix": lambda q, x: RigidTransform.from_matrix(
        rigid(q, x).as_matrix()
    ).as_matrix(),
    "spatial.transform.RigidTransform.as_matrix": lambda q, x: rigid(q, x).as_matrix(),
    "spatial.transform.RigidTransform.from_rotation": lambda q: RigidTransform.from_rotation(
        QUAT(q)
    ).as_matrix(),
    "spatial.transform.RigidTransform.from_translation": lambda x: RigidTransform.from_translation(
        x
    ).as_matrix(),
    "spatial.transform.RigidTransform.from_exp_coords": lambda x, y: RigidTransform.from_exp_coords(
        array_namespace(x).concat([x, y], axis=1)
    ).as_matrix(),
    "spatial.transform.RigidTransform.as_exp_coords": lambda q, x: rigid(q, x).as_exp_coords(),
    "spatial.transform.RigidTransform.from_dual_quat": lambda q, x: RigidTransform.from_dual_quat(
        rigid(q, x).as_dual_quat()
    ).as_matrix(),
    "spatial.transform.RigidTransform.as_dual_quat": lambda q, x: rigid(q, x).as_dual_quat(),
    "spatial.transform.RigidTransform.identity": lambda x: (
        RigidTransform.from_translation(x) * RigidTransform.identity()
    ).as_matrix(),
    "spatial.transform.RigidTransform.inv": lambda q, x: rigid(q, x).inv().as_matrix(),
    "spatial.transform.RigidTransform.apply": lambda q, x, y: (
        rigid(q, x).apply(y),
        rigid(q, x).apply(y, inverse=True),
    ),
    "spatial.transform.RigidTransform.mean": lambda angles, x, v: (
        RigidTransform.from_components(x, E("xyz", angles / 3)).mean(weights=v).as_matrix()
    ),
    "spatial.transform.RigidTransform.concatenate": lambda q, r, x: RigidTransform.concatenate(
        [rigid(q, x), rigid(r, x)]
    ).as_matrix(),
    "spatial.transform.RigidTransform.__getitem__": lambda q, x: (
        rigid(q, x)[3].as_matrix(),
        rigid(q, x)[2:9].as_matrix(),
    ),
    "spatial.transform.RigidTransform.__setitem__": assigned_rigid,
    "spatial.transform.RigidTransform.__mul__": lambda q, r, x, y: (
        rigid(q, x) * rigid(r, y)
    ).as_matrix(),
    "spatial.transform.RigidTransform.__pow__": lambda q, x: (rigid(q, x) ** 0.5).as_matrix(),
    "spatial.transform.RigidTransform.__iter__": lambda q, x: [
        one.as_matrix() for one in rigid(q[:3, :], x[:3, :])
    ],
}


def axes(like: Any) -> Any:
    return array_namespace(like).asarray([[0, 0, 1.0], [0, 1.0, 0], [1.0, 0, 0]], dtype=like.dtype)


def short(values: np.ndarray) -> bool:
    return len(values) <= 12


@entries("scipy", CASES)
def test_samples_stay_distributed(case):
    values = samples(case, data(ROWS))
    expected = case(*values)
    given = [make(v) if short(v) else rows(v) for v in values]
    with stays_distributed():
        result = case(*given)
    compare(result, expected, rtol=1e-7, atol=1e-9)


@entries("scipy", CASES)
def test_values_in_all_layouts(case):
    values = samples(case, data(41))
    expected = case(*values)
    for way in range(3):
        given = [make(v, layout_of(v.shape, way)) for v in values]
        compare(case(*given), expected, rtol=1e-7, atol=1e-9)


# ---------------------------------------------------------------------- through NumPy


def tree(x: Any) -> Any:
    return hierarchy.linkage(x[:20, :], "average")


THROUGH_NUMPY = {
    "cluster.vq.vq": lambda x: vq.vq(x, x[:4, :]),
    "cluster.vq.kmeans": lambda x: vq.kmeans(x, x[:4, :]),
    "cluster.vq.kmeans2": lambda x: vq.kmeans2(x, x[:4, :], minit="matrix"),
    "cluster.hierarchy.linkage": tree,
    "cluster.hierarchy.fcluster": lambda x: hierarchy.fcluster(tree(x), 1.0, "distance"),
    "cluster.hierarchy.cophenet": lambda x: hierarchy.cophenet(tree(x)),
    "cluster.hierarchy.leaves_list": lambda x: hierarchy.leaves_list(tree(x)),
    "interpolate.CubicSpline": lambda knots, few, v: interpolate.CubicSpline(knots, few)(v),
    "interpolate.Akima1DInterpolator": lambda knots, few, v: interpolate.Akima1DInterpolator(
        knots, few
    )(v),
    "interpolate.make_interp_spline": lambda knots, few, v: interpolate.make_interp_spline(
        knots, few
    )(v),
    "interpolate.RegularGridInterpolator": lambda knots, few, v: (
        interpolate.RegularGridInterpolator((knots,), few)(v[:, None])
    ),
}


@entries("scipy", {f"{name} (gathers)": case for name, case in THROUGH_NUMPY.items()})
def test_what_scipy_does_by_numpy_is_in_the_trace(case):
    values = samples(case, data(41))
    expected = case(*values)
    given = [rows(v) for v in values]
    with xp.trace() as t:
        result = case(*given)
    assert bool(t.gathers) == (W.size > 1)
    compare(result, expected)


EXCLUDED = {
    "cluster.hierarchy": "compiled code on NumPy arrays: gathers, as the few above",
    "interpolate": "compiled code on NumPy arrays, as the few above; `RBFInterpolator` wants `diag`"
    " and `view` of NumPy, `PchipInterpolator` passes NumPy arrays to the namespace",
    "ndimage": "compiled code on NumPy arrays: an image would be gathered",
    # Tests of their own.
    **dict.fromkeys(("stats", "special", "signal", "fft", "integrate", "differentiate"), ""),
    "optimize": "",
}


def test_every_array_agnostic_function_is_here():
    functions = [f for f, facts in xp_capabilities_table.items() if not facts["np_only"]]
    found = set()
    for function in functions:
        _, module, part, *_ = [*function.__module__.split("."), ""]
        module = f"{module}.{part}" if module in ("cluster", "spatial") else module
        if module not in EXCLUDED and function.__qualname__[0] != "_":
            found.add(f"{module}.{function.__qualname__}")
    here = set(CASES) | {name for name in THROUGH_NUMPY if name.startswith("cluster.vq")}
    assert found - {"spatial.transform.normalize_dual_quaternion"} == here
