"""Derivatives of programs of the namespace: transforms of functions, on torch's tape.

Each rank keeps torch's own tape of its local operations; messages are on it as pairs of
adjoints (`_primitives`). Here are the only entry points to the engine, which runs in the caller's
thread and so in the same order on all ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import update_wrapper, wraps
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as torch_checkpoint
from torch.utils.checkpoint import set_checkpoint_early_stop

from ._comm.recording import breaks, may_break
from ._core.array import Array
from ._core.dtypes import FLOATING, REAL_FLOATING
from ._core.layout import Layout
from ._core.redistribute import move, redistribute
from ._core.tape import Record, attached, barrier, custom, recorded, tracked
from ._core.trees import leaves, mapped, rebuilt

__all__ = [
    "CustomVjp",
    "Function",
    "as_results",
    "backward",
    "checkpoint",
    "custom_vjp",
    "differentiable",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "no_grad",
    "stop_gradient",
    "value_and_grad",
    "vjp",
    "zeros_in",
]


Function = Callable[..., Any]


# ---------------------------------------------------------------------- the engine


def _gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    record: Record | None,
) -> list[Tensor]:
    """Run the engine; an input on which no output depends has the cotangent 0.

    With a record the pass is itself put on the tape.
    """
    pairs = [(y, g) for y, g in zip(outputs, cotangents, strict=True) if y.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(inputs)
    if pairs:
        with torch.autograd.set_multithreading_enabled(False), recorded(record):
            found = torch.autograd.grad(
                [y for y, _ in pairs],
                inputs,
                [g for _, g in pairs],
                allow_unused=True,
                retain_graph=True,
                create_graph=record is not None,
            )
    gradients = [
        torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)
    ]
    if record is not None and record.messages:
        gradients = [attached(g, *record.messages) for g in gradients]
    return gradients


def _as_input(func: str, x: Any) -> Array:
    """Return an array as a new input of the tape, or as a node below what it depends on."""
    if not isinstance(x, Array):
        raise TypeError(f"{func}: an argument is {type(x).__name__}; expected arrays")
    if x._local.dtype not in FLOATING.all:
        raise TypeError(
            f"{func}: an argument has dtype {x.dtype}; only floating-point arrays have derivatives"
        )
    t = x._local
    return Array(t.view_as(t) if tracked(t) else _source(t), x._layout)


def _source(t: Tensor) -> Tensor:
    """Return a tensor as an input of the tape that belongs to one of these transforms."""
    leaf = t.detach().requires_grad_()
    leaf._is_source = True  # type: ignore[attr-defined]
    return leaf


_active: list[list[Tensor]] = []
"""The inputs of the transforms whose functions are being called, outermost first."""


def _call(f: Function, inputs: Any) -> tuple[Any, list[Tensor]]:
    """Call a function on the tape, with inputs into which it may write.

    Returns its value, and tokens of the messages that it sends.
    """
    record = Record()
    _active.append([x._local for x in leaves(inputs)])
    try:
        # The views too: made under no_grad they would not be on the tape.
        with torch.enable_grad(), recorded(record):
            arguments = mapped(lambda x: Array(x._local.view_as(x._local), x._layout), inputs)
            return f(*arguments), record.messages
    finally:
        _active.pop()


def _fitted(func: str, cotangent: Any, like: Array, what: str) -> Tensor:
    """Return this rank's part of a cotangent, or tangent, of `like`."""
    if not isinstance(cotangent, Array) or cotangent.shape != like.shape:
        shape = getattr(cotangent, "shape", type(cotangent).__name__)
        raise ValueError(f"{func}: a {what} of {shape} for an array of shape {like.shape}")
    t = move(cotangent._local, cotangent._layout, like._layout)
    return t if t.dtype is like._local.dtype else t.to(like._local.dtype)


# ---------------------------------------------------------------------- rules


Adjoint = Callable[..., Sequence[Array | None]]


def differentiable(
    value: Callable[..., Sequence[Array]], adjoint: Adjoint, *inputs: Array
) -> tuple[Array, ...]:
    """Return ``value(*inputs)``, computed off the tape, with derivatives by a rule.

    Parameters
    ----------
    value : callable
        Of the inputs; returns arrays.
    adjoint : callable
        Of ``(needed, inputs, results, cotangents)``, in functions of the namespace: the
        cotangents of the inputs (None: zero). `needed` tells which are asked for; the cotangent
        of a result without influence is None. Derivatives of higher order are those of the rule.
    *inputs : Array
        On the tape, some of them.
    """
    sources = [x._layout for x in inputs]
    targets: list[Layout] = []

    def on_tensors(*tensors: Tensor) -> list[Tensor]:
        arrays = value(*map(Array, tensors, sources))
        targets[:] = [y._layout for y in arrays]
        # The tape takes a result that is an argument for the argument itself.
        return [y._local.view_as(y._local) for y in arrays]

    def on_cotangents(needed: Any, tensors: Any, results: Any, cotangents: Any) -> Any:
        found = adjoint(
            needed,
            tuple(map(Array, tensors, sources)),
            tuple(map(Array, results, targets)),
            tuple(
                None if g is None else Array(g, layout)
                for g, layout in zip(cotangents, targets, strict=True)
            ),
        )
        return [
            None if g is None or not wanted else _fitted("adjoint", g, x, "cotangent")
            for g, wanted, x in zip(found, needed, map(Array, tensors, sources), strict=True)
        ]

    tensors = custom(on_tensors, on_cotangents, [x._local for x in inputs])
    return tuple(map(Array, tensors, targets))


def as_results(func: str, value: Any) -> list[Array]:
    results = list(leaves(value))
    for y in results:
        if not isinstance(y, Array):
            raise TypeError(f"{func}: the function returns {type(y).__name__}; expected arrays")
    return results


def zeros_in(x: Array) -> Array:
    """Return an array of zeros in the layout of `x`, off the tape."""
    return Array(torch.zeros_like(x._local), x._layout)


def _around(
    primals: Iterable[Array], results: Sequence[Array], sources: Sequence[Array]
) -> list[Tensor] | None:
    """Return by what a derivative may be differentiated: the inputs of the tape around it.

    None if by nothing. Besides `primals` a function may refer to arrays on the tape that are no
    arguments of it: inputs other than `sources`, of the user or of a transform around this one.
    (Those of transforms inside it, which have ended, do not count.)
    """
    if not torch.is_grad_enabled():
        return None
    active = [t for tensors in _active for t in tensors]
    own, around = ({id(t) for t in tensors} for tensors in ((x._local for x in sources), active))
    found = False
    users: list[Tensor] = []
    pending: list[Any] = [y._local.grad_fn for y in results]
    seen: set[Any] = set()
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)  # of the nodes that accumulate in inputs
        if variable is None or id(variable) in own:
            pending.extend(below for below, _ in node.next_functions)
        elif id(variable) in around:
            found = True
        elif not hasattr(variable, "_is_source"):
            users.append(variable)
    if found or users or any(tracked(x._local) for x in primals):
        return [*active, *users]
    return None


# ---------------------------------------------------------------------- reverse mode


@breaks
def vjp(f: Function, *primals: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return ``f(*primals)``, and the function that pulls cotangents back.

    Parameters
    ----------
    f : callable
        Of arrays, or nested tuples, lists and dicts of them; returns such.
    *primals : Array or nested
        Floating-point arrays, any layout.

    Returns
    -------
    y
        The value, of which nothing is on the tape but what was before.
    pullback : callable
        Takes a cotangent of the structure of `y`, returns a tuple of those of `primals`: arrays of
        their shapes, dtypes and layouts. May be called again.
    """
    value, pullback = _vjp("vjp", f, primals)
    return value, breaks(pullback)


def _vjp(func: str, f: Function, primals: Any) -> tuple[Any, Callable[[Any], Any]]:
    inputs = mapped(lambda x: _as_input(func, x), primals)
    value, messages = _call(f, inputs)
    sources = list(leaves(inputs))
    results = as_results(func, value)
    around = _around(leaves(primals), results, sources)

    def pullback(cotangent: Any) -> Any:
        given = list(leaves(cotangent))
        if len(given) != len(results):
            raise ValueError(f"{func}: {len(given)} cotangents for {len(results)} results")
        tensors = [_fitted(func, g, y, "cotangent") for g, y in zip(given, results, strict=True)]
        record = None
        if torch.is_grad_enabled() and (around is not None or any(tracked(t) for t in tensors)):
            record = Record([*(x._local for x in sources), *tensors, *(around or ())], messages)
        found = _gradients(
            [y._local for y in results], [x._local for x in sources], tensors, record
        )
        arrays = (Array(t, x._layout) for t, x in zip(found, sources, strict=True))
        return rebuilt(primals, arrays)

    return value if around is not None else stop_gradient(value), pullback


def value_and_grad(
    f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Function:
    """Return the function that gives the value of `f` and its gradient.

    Parameters
    ----------
    f : callable
        Returns a real scalar (0-d) array; with `has_aux` a pair of that and anything else.
    argnums : int or sequence of int
        For which of its positional arguments the gradient is taken.
    has_aux : bool
        Whether `f` returns such a pair.

    Returns
    -------
    callable
        Returns ``(value, gradient)``, or ``((value, aux), gradient)``. A gradient has the shape,
        dtype, split and counts of the argument; that of a replicated one is replicated.
        Complex: the gradient of ``abs(z)**2`` is ``2 z``, as torch's.

    Raises
    ------
    TypeError
        On all ranks, if an argument is no floating-point array, or the value no real scalar.

    Notes
    -----
    Messages: those of `f`, and of its adjoint (docs, "How gradients cross ranks").
    """

    @may_break
    def both(*args: Any, **kwargs: Any) -> Any:
        numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        aux: list[Any] = []

        def of_chosen(*chosen: Any) -> Any:
            full = list(args)
            for number, value in zip(numbers, chosen, strict=True):
                full[number] = value
            result = f(*full, **kwargs)
            if has_aux:
                result, extra = result
                aux[:] = [extra]
            return _check_scalar(result)

        value, pullback = _vjp("grad", of_chosen, tuple(args[number] for number in numbers))
        one = Array(torch.ones_like(value._local), value._layout)
        gradients = pullback(one)
        gradient = gradients[0] if isinstance(argnums, int) else gradients
        return ((value, aux[0]) if has_aux else value), gradient

    return both


def _check_scalar(y: Any, func: str = "grad: the function returns") -> Array:
    if not isinstance(y, Array) or y._layout.shape:
        shape = getattr(y, "shape", type(y).__name__)
        raise TypeError(f"{func} {shape}; expected a real 0-d array")
    if y._local.dtype not in REAL_FLOATING.all:
        raise TypeError(f"{func} dtype {y.dtype}; expected a real floating-point one")
    return y


def grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """Return the function that gives the gradient of `f`: `value_and_grad` without the value.

    Parameters
    ----------
    f : callable
        Returns a real scalar (0-d) array; with `has_aux` a pair of that and anything else.
    argnums : int or sequence of int
        For which of its positional arguments the gradient is taken.
    has_aux : bool
        Whether `f` returns such a pair.

    Returns
    -------
    callable
        Returns the gradient, or ``(gradient, aux)``.
    """
    both = value_and_grad(f, argnums, has_aux)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, result = both(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return gradient


# ---------------------------------------------------------------------- forward mode


@may_break
def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Return ``f(*primals)`` and its derivative in the direction of `tangents`.

    Parameters
    ----------
    f : callable
        Of arrays, or nested tuples, lists and dicts of them; returns such.
    primals : sequence
        Its arguments: floating-point, any layout.
    tangents : sequence
        Of the structure and the shapes of `primals`, any layout.

    Returns
    -------
    y, tangent
        The value, and its derivative: of the same structure, layouts and dtypes.

    Notes
    -----
    The derivative is the transpose of the transpose: the pullback is linear in its cotangent,
    and is itself differentiated. Its messages are those of two backward passes.
    """
    _check_directions("jvp", primals, tangents)
    inputs = mapped(lambda x: _as_input("jvp", x), tuple(primals))
    value, messages = _call(f, inputs)
    results = as_results("jvp", value)
    sources = list(leaves(inputs))
    around = _around([*leaves(tuple(primals)), *leaves(tangents)], results, sources)
    given = [x._local for x in sources]
    dummies = [_source(torch.zeros_like(y._local)) for y in results]
    with torch.enable_grad():
        record = Record([*given, *dummies, *(around or ())], messages)
        pulled = _gradients([y._local for y in results], given, dummies, record)
    directions = [
        _fitted("jvp", v, x, "tangent") for v, x in zip(leaves(tangents), sources, strict=True)
    ]
    again = None
    if around is not None:
        again = Record([*given, *dummies, *directions, *around], record.messages)
    pushed = _gradients(pulled, dummies, directions, again)
    arrays = (Array(t, y._layout) for t, y in zip(pushed, results, strict=True))
    tangent = rebuilt(value, arrays)
    return value if around is not None else stop_gradient(value), tangent


def _check_directions(func: str, primals: Any, tangents: Any) -> None:
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise TypeError(f"{func}: {name} is {type(given).__name__}; expected a tuple")
    counts = [len(list(leaves(given))) for given in (primals, tangents)]
    if counts[0] != counts[1]:
        raise ValueError(f"{func}: {counts[1]} tangents for {counts[0]} primals")


@may_break
def hvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Return the products of the Hessian of a scalar function with directions.

    Parameters
    ----------
    f : callable
        Returns a real scalar (0-d) array.
    primals, tangents : sequence
        As for `jvp`.

    Returns
    -------
    tuple
        One product for each of `primals`, of its structure, shapes and layouts.
    """
    _check_directions("hvp", primals, tangents)
    numbers = tuple(range(len(primals)))
    return jvp(grad(f, numbers), primals, tangents)[1]


# ---------------------------------------------------------------------- matrices


def jacobian(f: Function, argnums: int = 0) -> Function:
    """Return the function that gives the Jacobian of `f`.

    Parameters
    ----------
    f : callable
        Of arrays, or nested tuples, lists and dicts of them; returns such.
    argnums : int
        For which of its arguments the derivative is taken.

    Returns
    -------
    callable
        Returns an array of shape ``y.shape + x.shape``, replicated: of nested results a nest of
        them, each nested as the argument. One backward pass for each element of the result, so
        for small ones.
    """

    @may_break
    def matrix(*args: Any) -> Any:
        def of_one(x: Any) -> Any:
            return f(*args[:argnums], x, *args[argnums + 1 :])

        value, pullback = _vjp("jacobian", of_one, (args[argnums],))
        results = list(leaves(value))
        blocks = []
        for i, y in enumerate(results):
            rows = []
            for k in range(y.size):
                cotangents = [zeros_in(other) for other in results]
                cotangents[i] = _unit(y, k)
                rows.append(list(leaves(pullback(rebuilt(value, iter(cotangents)))[0])))
            columns = zip(*rows, strict=True) if rows else ((),) * len(list(leaves(args[argnums])))
            arrays = [
                _stacked(y, x, column)
                for x, column in zip(leaves(args[argnums]), columns, strict=True)
            ]
            blocks.append(rebuilt(args[argnums], iter(arrays)))
        return rebuilt(value, iter(blocks))

    return matrix


def _unit(y: Array, k: int) -> Array:
    """Return zeros in the layout of `y`, with a one at its k-th element."""
    one = torch.zeros(y.size, dtype=y._local.dtype, device=y._local.device)
    one[k] = 1
    whole = Layout.replicated(y.shape, y.comm)
    return Array(move(one.reshape(y.shape), whole, y._layout), y._layout)


def _stacked(y: Array, x: Array, rows: Sequence[Array]) -> Array:
    """Return the Jacobian of `y` by `x`, of which `rows` are the rows."""
    layout = Layout.replicated((*y.shape, *x.shape), y.comm)
    whole = Layout.replicated(x.shape, y.comm)
    tensors = [redistribute(row, whole)._local for row in rows]
    t = torch.stack(tensors) if tensors else x._local.new_zeros((0, *x.shape))
    return Array(t.reshape(layout.shape), layout)


def hessian(f: Function, argnums: int = 0) -> Function:
    """Return the function that gives the Hessian of a scalar function: replicated, symmetric.

    As `jacobian`, of its gradient: shape ``x.shape + x.shape``.
    """
    return jacobian(grad(f, argnums), argnums)


# ---------------------------------------------------------------------- the tape


def stop_gradient(x: Any) -> Any:
    """Return an array, or nested tuples, lists and dicts of them, as constants: off the tape."""
    return mapped(
        lambda leaf: Array(leaf._local.detach(), leaf._layout) if isinstance(leaf, Array) else leaf,
        x,
    )


@contextmanager
def no_grad() -> Iterator[None]:
    """Run a block (or, as a decorator, a function) off the tape."""
    with torch.no_grad():
        yield


def backward(x: Array, cotangent: Array | None = None) -> None:
    """Accumulate gradients in ``.grad`` of the arrays with ``requires_grad_()``; `Array.backward`.

    `cotangent` has the shape of `x`; needed unless that is a real scalar.
    """
    if cotangent is None:
        _check_scalar(x, "backward: the array has")
        seed = None
    else:
        seed = _fitted("backward", cotangent, x, "cotangent")
    if not x._local.requires_grad:
        raise RuntimeError(
            "backward: the array depends on none with requires_grad_() (or was computed under "
            "no_grad)"
        )
    if x._layout.comm.size == 1:
        torch.autograd.backward(x._local, seed)
        return
    with torch.autograd.set_multithreading_enabled(False):
        torch.autograd.backward(x._local, seed)


class CustomVjp:
    """A function with a rule of its own for cotangents; see `custom_vjp`."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self._forward: Function | None = None
        self._backward: Function | None = None
        update_wrapper(self, function)

    def defvjp(self, forward: Function, backward: Function) -> None:
        """Set the rule.

        Parameters
        ----------
        forward : callable
            Of the function's arguments; returns its value, and what `backward` will need.
        backward : callable
            Of that and a cotangent of the value's structure; returns a tuple of cotangents, one for
            each argument (None for one that has none).
        """
        self._forward, self._backward = forward, backward

    def __call__(self, *args: Any) -> Any:
        """Call the function; on the tape with its rule."""
        arrays = [x for x in leaves(args) if isinstance(x, Array)]
        inputs = [x for x in arrays if tracked(x._local)]
        if not inputs:
            return self.function(*args)
        if self._forward is None or self._backward is None:
            raise TypeError("custom_vjp: the function has no rule yet; call its defvjp")
        return self._on_tape(self._forward, self._backward, args, inputs)

    @staticmethod
    def _on_tape(forward: Function, backward: Function, args: Any, inputs: list[Array]) -> Any:
        places = {id(x): i for i, x in enumerate(inputs)}
        inputs = [x for i, x in enumerate(inputs) if places[id(x)] == i]
        kept: list[Any] = []

        def with_inputs(values: Sequence[Array]) -> Any:
            found = dict(zip(map(id, inputs), values, strict=True))
            return mapped(lambda x: found.get(id(x), x), args)

        def value(*values: Array) -> list[Array]:
            y, needed = forward(*with_inputs(values))
            kept[:] = [y, needed]
            return as_results("custom_vjp", y)

        def adjoint(_: Any, values: Any, results: Any, cotangents: Any) -> list[Array | None]:
            y, needed = kept
            if torch.is_grad_enabled():  # the rule itself is differentiated: what it needs, too
                needed = forward(*with_inputs(values))[1]
            filled = [
                zeros_in(y) if g is None else g for y, g in zip(results, cotangents, strict=True)
            ]
            found = backward(needed, rebuilt(y, iter(filled)))
            return _by_input(found, args, inputs)

        results = differentiable(value, adjoint, *inputs)
        return rebuilt(kept[0], iter(results))


def _by_input(found: Any, args: Any, inputs: list[Array]) -> list[Array | None]:
    """Sum the cotangents of a rule for each of the distinct arrays among the arguments."""
    if not isinstance(found, tuple) or len(found) != len(args):
        raise TypeError(
            f"custom_vjp: the rule returns {type(found).__name__}"
            f"{f' of {len(found)}' if isinstance(found, tuple) else ''}; expected a tuple of "
            f"{len(args)} cotangents"
        )
    totals: dict[int, Array] = {}
    for argument, cotangent in zip(args, found, strict=True):
        if cotangent is None:
            continue
        for x, g in zip(leaves(argument), leaves(cotangent), strict=True):
            if isinstance(g, Array):
                totals[id(x)] = totals[id(x)] + g if id(x) in totals else g
    return [totals.get(id(x)) for x in inputs]


def custom_vjp(function: Function) -> CustomVjp:
    """Give a function its own rule for cotangents, as in JAX.

    Parameters
    ----------
    function : callable
        Of arrays, or nested tuples, lists and dicts of them; returns such.

    Returns
    -------
    CustomVjp
        The function; its ``defvjp(forward, backward)`` sets the rule. Arrays that the function
        refers to but does not take as arguments are constants to it.

    Examples
    --------
    >>> @xp.autograd.custom_vjp
    ... def clipped(x):
    ...     return xp.clip(x, -1.0, 1.0)
    >>> clipped.defvjp(lambda x: (clipped(x), None), lambda _, g: (g,))  # straight through
    """
    return CustomVjp(function)


def checkpoint(function: Function) -> Function:
    """Return a function that keeps no intermediate results for the backward pass.

    They are computed again when the backward pass comes to it, messages included: memory for time.
    """

    @wraps(function)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        first = True

        def run(*args: Any) -> Any:
            nonlocal first
            with nullcontext() if first else recorded(None):
                results = function(*args, **kwargs)
            first = False
            # The backward pass meets these nodes first, on all ranks: it is here that it computes
            # all again, not at whatever it needs first, which is another thing on an empty shard.
            return mapped(
                lambda y: Array(barrier(y._local), y._layout) if isinstance(y, Array) else y,
                results,
            )

        with set_checkpoint_early_stop(False):
            return torch_checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False)

    return checkpointed
