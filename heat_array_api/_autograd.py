"""Derivatives of programs of the namespace: transforms of functions, on torch's tape.

Each rank keeps torch's own tape of its local operations; messages are on it as pairs of adjoints
(`_core.collectives`). The only entry points to torch's engine are here. It runs in the caller's
thread, and so in the same order on all ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor

from ._comm.recording import breaks, may_break
from ._core.arguments import as_callable, as_flag, as_int
from ._core.array import Array
from ._core.docstrings import filled_in
from ._core.dtypes import FLOATING, REAL_FLOATING
from ._core.layout import Layout, as_ints
from ._core.redistribute import move, redistribute
from ._core.tape import Record, attached, custom, recorded, tracked
from ._core.trees import leaves, mapped, rebuilt

__all__ = [
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "no_grad",
    "stop_gradient",
    "value_and_grad",
    "vjp",
]

Function = Callable[..., Any]
_FUNCTION: Final = """Parameters
----------
f : callable
    Takes arrays, or nested tuples, lists and dicts of them; returns {}."""
_ARGUMENT: Final = """
argnums : int
    The positional argument by which to differentiate."""
_PRIMALS: Final = """
primals : sequence
    The arguments: floating-point arrays, any layout.
tangents : sequence
    Of the structure and the shapes of `primals`, any layout."""
_RAISES: Final = """Raises
------
TypeError
    On all ranks, if an argument is not a floating-point array, or a result not {}.{}

Examples
--------"""
_SHAPES: Final = """
ValueError
    If {} does not have the structure and shapes of {}."""
_RETURNS: Final = "\n\nReturns\n-------"
_documented = filled_in(
    function=_FUNCTION.format("such"),
    function_argument=_FUNCTION.format("such") + _ARGUMENT + _RETURNS,
    function_primals=_FUNCTION.format("such") + _PRIMALS + _RETURNS,
    scalar_argument=_FUNCTION.format("a real 0-d array") + _ARGUMENT + _RETURNS,
    scalar_primals=_FUNCTION.format("a real 0-d array") + _PRIMALS + _RETURNS,
    scalar=_FUNCTION.format("a real 0-d array")
    + """
argnums : int or sequence of int
    The positional arguments by which to differentiate.
has_aux : bool
    Whether `f` returns a pair of its value and anything else."""
    + _RETURNS,
    not_arrays=_RAISES.format("an array", ""),
    not_scalar=_RAISES.format("a real 0-d array", ""),
    not_fitting=_RAISES.format("an array", _SHAPES.format("a cotangent", "the results")),
    not_arrays_fitting=_RAISES.format("an array", _SHAPES.format("`tangents`", "`primals`")),
    not_scalar_fitting=_RAISES.format(
        "a real 0-d array", _SHAPES.format("`tangents`", "`primals`")
    ),
)


# ---------------------------------------------------------------------- the engine


def _gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    record: Record | None,
) -> list[Tensor]:
    """Run the engine; an input without influence on the outputs has the cotangent 0.

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
    """Return an array as a new input of the tape, or, if it is on the tape, as a node of it."""
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
    if not isinstance(cotangent, Array):
        kind = type(cotangent).__name__
        raise ValueError(f"{func}: {what} is {kind}; expected an array of shape {like.shape}")
    if cotangent.shape != like.shape:
        raise ValueError(f"{func}: {what} has shape {cotangent.shape}; expected {like.shape}")
    t = move(cotangent._local, cotangent._layout, like._layout)
    return t if t.dtype is like._local.dtype else t.to(like._local.dtype)


# ---------------------------------------------------------------------- rules


Adjoint = Callable[..., Sequence[Array | None]]


def differentiable(
    value: Callable[..., Sequence[Array]], adjoint: Adjoint, *inputs: Array, func: str = "adjoint"
) -> tuple[Array, ...]:
    """Return ``value(*inputs)``, computed off the tape, with derivatives by a rule.

    Parameters
    ----------
    value : callable
        Takes the inputs, returns arrays.
    adjoint : callable
        Takes ``(needed, inputs, results, cotangents)`` and returns the cotangents of the inputs
        (None: zero), in functions of the namespace. `needed` tells which are asked for; the
        cotangent of a result without influence is None. Derivatives of higher order are those of
        the rule.
    *inputs : Array
        At least one of them is on the tape.
    func : str
        The function that errors name.
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
            None if g is None or not wanted else _fitted(func, g, x, "cotangent")
            for g, wanted, x in zip(found, needed, map(Array, tensors, sources), strict=True)
        ]

    tensors = custom(on_tensors, on_cotangents, [x._local for x in inputs])
    return tuple(map(Array, tensors, targets))


def as_results(func: str, value: Any) -> list[Array]:
    """Return the arrays in a function's value."""
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
    """Return the inputs of the surrounding tape by which a derivative may be differentiated.

    None if there are none. Besides `primals`, a function may refer to arrays on the tape that are
    not its arguments: inputs other than `sources`, of the user or of a transform around this one.
    (Inputs of transforms inside it, which have ended, do not count.)
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


@_documented
@breaks
def vjp(f: Function, *primals: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return ``f(*primals)``, and the function that pulls cotangents back.

    {function}
    *primals : Array or nested
        The arguments: floating-point arrays, any layout.

    Returns
    -------
    y
        The value; constant, unless it depends on something else that is on the tape.
    pullback : callable
        Takes a cotangent of the structure of `y`, returns a tuple of those of `primals`: arrays of
        their shapes, dtypes and layouts. It may be called again. It sends the adjoints of the
        messages of `f`.

    {not_fitting}
    >>> y, pullback = xp.autograd.vjp(lambda x: x**2, xp.asarray([1.0, 2.0], split=0))
    >>> print(pullback(xp.ones_like(y))[0])
    [2. 4.]
    """
    value, pullback = pull("vjp", f, primals)
    return value, breaks(pullback)


def pull(func: str, f: Function, primals: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return what `vjp` does; errors name `func`."""
    as_callable(func, "f", f)
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


@_documented
def value_and_grad(
    f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Function:
    """Return the function that gives the value of `f` and its gradient.

    {scalar}
    callable
        Returns ``(value, gradient)``, or ``((value, aux), gradient)``. A gradient has the shape,
        dtype, split and counts of its argument; for a replicated argument it is replicated.
        Complex: the gradient of ``abs(z)**2`` is ``2 z``, as in torch. It sends the messages of `f`
        and their adjoints (docs, "Gradients").

    {not_scalar}
    >>> both = xp.autograd.value_and_grad(lambda x: xp.sum(x**2))
    >>> value, gradient = both(xp.asarray([1.0, 2.0], split=0))
    >>> print(value, gradient)
    5.0 [2. 4.]
    """
    return with_value("value_and_grad", f, argnums, has_aux)


def with_value(
    func: str, f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Function:
    """Return what `value_and_grad` does; errors name `func`."""
    as_callable(func, "f", f)
    numbers = as_ints(func, "argnums", argnums)
    has_aux = as_flag(func, "has_aux", has_aux)

    def both(*args: Any, **kwargs: Any) -> Any:
        _check_numbers(func, numbers, args)
        aux: list[Any] = []

        def of_chosen(*chosen: Any) -> Any:
            full = list(args)
            for number, value in zip(numbers, chosen, strict=True):
                full[number] = value
            result = f(*full, **kwargs)
            if has_aux:
                result, extra = result
                aux[:] = [extra]
            return _check_scalar(f"{func}: the function returns", result)

        value, pullback = pull(func, of_chosen, tuple(args[number] for number in numbers))
        one = Array(torch.ones_like(value._local), value._layout)
        gradients = pullback(one)
        gradient = gradients if isinstance(argnums, (tuple, list)) else gradients[0]
        return ((value, aux[0]) if has_aux else value), gradient

    both.__qualname__ = f"{func}.<locals>.both"  # graph breaks are shown by this name
    return may_break(both)


def _check_numbers(func: str, numbers: Sequence[int], args: Sequence[Any]) -> None:
    """Refuse a call that lacks an argument by which the function is differentiated."""
    for number in numbers:
        if not -len(args) <= number < len(args):
            raise TypeError(
                f"{func}: argnums names argument {number}; the call has {len(args)} by position"
            )


def _check_scalar(what: str, y: Any) -> Array:
    """Return `y` if it is a real 0-d array; else raise an error that begins with `what`."""
    if not isinstance(y, Array) or y._layout.shape:
        shape = getattr(y, "shape", type(y).__name__)
        raise TypeError(f"{what} {shape}; expected a real 0-d array")
    if y._local.dtype not in REAL_FLOATING.all:
        raise TypeError(f"{what} dtype {y.dtype}; expected a real floating-point one")
    return y


@_documented
def grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """Return the function that gives the gradient of `f`: `value_and_grad` without the value.

    {scalar}
    callable
        Returns the gradient, or ``(gradient, aux)``; layout and messages as for `value_and_grad`.

    {not_scalar}
    >>> print(xp.autograd.grad(lambda x: xp.sum(x**2))(xp.asarray([1.0, 2.0], split=0)))
    [2. 4.]
    """
    return _gradient("grad", f, argnums, has_aux)


def _gradient(
    func: str, f: Function, argnums: int | Sequence[int], has_aux: bool = False
) -> Function:
    both = with_value(func, f, argnums, has_aux)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, result = both(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return gradient


# ---------------------------------------------------------------------- forward mode


@_documented
@may_break
def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Return ``f(*primals)`` and its derivative in the direction of `tangents`.

    {function_primals}
    y, tangent
        The value, and its derivative: of the same structure, layouts and dtypes. The derivative
        is the transpose of the transpose: the pullback, linear in its cotangent, is itself
        differentiated. Sends the messages of `f` and of two backward passes.

    {not_arrays_fitting}
    >>> x = xp.asarray([1.0, 2.0], split=0)
    >>> print(xp.autograd.jvp(lambda x: x**2, (x,), (xp.ones_like(x),))[1])
    [2. 4.]
    """
    return push("jvp", f, primals, tangents)


def push(func: str, f: Function, primals: Any, tangents: Any) -> tuple[Any, Any]:
    """Return what `jvp` does; errors name `func`."""
    as_callable(func, "f", f)
    _check_directions(func, primals, tangents)
    inputs = mapped(lambda x: _as_input(func, x), tuple(primals))
    value, messages = _call(f, inputs)
    results = as_results(func, value)
    sources = list(leaves(inputs))
    around = _around([*leaves(tuple(primals)), *leaves(tangents)], results, sources)
    given = [x._local for x in sources]
    dummies = [_source(torch.zeros_like(y._local)) for y in results]
    with torch.enable_grad():
        record = Record([*given, *dummies, *(around or ())], messages)
        pulled = _gradients([y._local for y in results], given, dummies, record)
    directions = [
        _fitted(func, v, x, "tangent") for v, x in zip(leaves(tangents), sources, strict=True)
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


@_documented
@may_break
def hvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Return the products of the Hessian of a scalar function with directions.

    {scalar_primals}
    tuple
        One product for each of `primals`, of its structure, shapes and layouts. Messages as for
        `jvp` of the gradient.

    {not_scalar_fitting}
    >>> x = xp.asarray([1.0, 2.0], split=0)
    >>> print(xp.autograd.hvp(lambda x: xp.sum(x**3), (x,), (xp.ones_like(x),))[0])
    [ 6. 12.]
    """
    return hessian_products("hvp", f, primals, tangents)


def hessian_products(func: str, f: Function, primals: Any, tangents: Any) -> Any:
    """Return what `hvp` does; errors name `func`."""
    _check_directions(func, primals, tangents)
    numbers = tuple(range(len(primals)))
    return push(func, _gradient(func, f, numbers), primals, tangents)[1]


# ---------------------------------------------------------------------- matrices


@_documented
def jacobian(f: Function, argnums: int = 0) -> Function:
    """Return the function that gives the Jacobian of `f`.

    {function_argument}
    callable
        Returns an array of shape ``y.shape + x.shape``, replicated; for nested results a nest of
        them, each nested as the argument. It takes one backward pass, with its messages, for each
        element of the result: use it for small results.

    {not_arrays}
    >>> print(xp.autograd.jacobian(lambda x: x**2)(xp.asarray([1.0, 2.0], split=0)))
    [[2. 0.]
     [0. 4.]]
    """
    return _matrix("jacobian", f, argnums)


def _matrix(func: str, f: Function, argnums: int) -> Function:
    """Return the function that gives the Jacobian of `f`; errors name `func`."""
    as_callable(func, "f", f)
    argnums = as_int(func, "argnums", argnums)

    @may_break
    def matrix(*args: Any) -> Any:
        _check_numbers(func, (argnums,), args)

        def of_one(x: Any) -> Any:
            full = list(args)
            full[argnums] = x
            return f(*full)

        value, pullback = pull(func, of_one, (args[argnums],))
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
    """Return the Jacobian of `y` by `x` from its `rows`."""
    layout = Layout.replicated((*y.shape, *x.shape), y.comm)
    whole = Layout.replicated(x.shape, y.comm)
    tensors = [redistribute(row, whole)._local for row in rows]
    t = torch.stack(tensors) if tensors else x._local.new_zeros((0, *x.shape))
    return Array(t.reshape(layout.shape), layout)


@_documented
def hessian(f: Function, argnums: int = 0) -> Function:
    """Return the function that gives the Hessian of a scalar function.

    {scalar_argument}
    callable
        Returns a symmetric array of shape ``x.shape + x.shape``, replicated; messages as for
        `jacobian` of the gradient.

    {not_scalar}
    >>> print(xp.autograd.hessian(lambda x: xp.sum(x**3))(xp.asarray([1.0, 2.0], split=0)))
    [[ 6.  0.]
     [ 0. 12.]]
    """
    return _matrix("hessian", _gradient("hessian", f, argnums), argnums)


# ---------------------------------------------------------------------- the tape


def stop_gradient(x: Any) -> Any:
    """Return arrays as constants, off the tape.

    Parameters
    ----------
    x : Array, or nested tuples, lists and dicts of them
        Any layout and dtype. What is not an array is returned as it is.

    Returns
    -------
    Array or nested
        The same values and layouts, on the same memory. Sends nothing.

    Raises
    ------
    TypeError
        If a nested container cannot be made of a list of its items.

    Examples
    --------
    >>> x = xp.asarray([1.0, 2.0], split=0)
    >>> print(xp.autograd.grad(lambda x: xp.sum(x * xp.autograd.stop_gradient(x)))(x))
    [1. 2.]
    """
    return mapped(
        lambda leaf: Array(leaf._local.detach(), leaf._layout) if isinstance(leaf, Array) else leaf,
        x,
    )


@contextmanager
def no_grad() -> Iterator[None]:
    """Run a block, or, as a decorator, a function, off the tape.

    Yields
    ------
    None

    Examples
    --------
    >>> x = xp.asarray([1.0, 2.0], split=0).requires_grad_()
    >>> with xp.autograd.no_grad():
    ...     print((x * 2).requires_grad)
    False
    """
    with torch.no_grad():
        yield


def backward(x: Array, cotangent: Array | None = None) -> None:
    """Accumulate gradients in ``.grad`` of arrays with ``requires_grad_()``: `Array.backward`."""
    if cotangent is None:
        _check_scalar("backward: the array has", x)
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
