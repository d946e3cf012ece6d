"""Whether arguments fit a function, told at ``.remote()`` in the words of a direct call.

From the function's parameters a function with the same parameters and no body is compiled, once, at the first call. Calling it
checks arguments at C speed and raises CPython's own TypeErrors. Calls without keywords do not even need that: comparing
their number with ``least`` and ``most`` is enough.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

from nbray import _hints
from nbray._options import OPTIONS

#: Stands for any default value. Not the value itself: signatures travel to processes that cannot have it.
_DEFAULT: Any = ...


class Signature:
    """The parameters of one function or method.

    Attributes:
        least, most: that many positional arguments, and no keywords, fit for sure. Until it is compiled nothing does.
    """

    __slots__ = ("least", "most", "_function", "_name", "_bound", "_text", "_stub")

    def __init__(
        self, name: str, function: Callable[..., Any] | None, *, bound: bool = False, text: str = ""
    ) -> None:
        """
        Args:
            name: how errors call it.
            function: where its parameters are looked up when they are needed; not needed if ``text`` is given.
            bound: the first parameter (``self`` or ``cls``) is filled in by the call.
            text: the parameters as source, for a function that is not here.
        """
        self.least = 1
        self.most = 0
        self._function = function
        self._name = name
        self._bound = bound
        self._text = text
        self._stub: Callable[..., Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._name, self._bound, self.text)

    @property
    def text(self) -> str:
        """The parameters as source, with ``...`` for defaults."""
        if not self._text:
            assert self._function is not None
            self._text = _parameters(self._function)
        return self._text

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise the TypeError of a direct call if the arguments do not fit."""
        if self._stub is None:
            self._compile()
        assert self._stub is not None
        try:
            if self._bound:
                self._stub(None, *args, **kwargs)
            else:
                self._stub(*args, **kwargs)
        except TypeError as error:
            told = str(error)
            error.args = (told + _hints.option_as_argument(told, kwargs, OPTIONS),)
            raise error.with_traceback(None) from None

    @property
    def __signature__(self) -> inspect.Signature:
        """For ``?`` and completion: without ``self``, with ``...`` for defaults that are not here."""
        if self._function is None:
            if self._stub is None:
                self._compile()
            shown = inspect.signature(self._stub)  # type: ignore[arg-type]
        else:
            shown = inspect.signature(self._function)
        parameters = list(shown.parameters.values())
        if self._bound and parameters and parameters[0].kind <= inspect.Parameter.POSITIONAL_OR_KEYWORD:
            del parameters[0]
        return shown.replace(parameters=parameters)

    def _compile(self) -> None:
        namespace: dict[str, Any] = {}
        exec(f"def stub{self.text}: pass", {}, namespace)
        stub = namespace["stub"]
        stub.__qualname__ = stub.__name__ = self._name
        code = stub.__code__
        required_keywords = code.co_kwonlyargcount - len(stub.__kwdefaults__ or ())
        if not required_keywords:
            # Also (*args) alone may take ``self``.
            filled = 1 if self._bound and code.co_argcount else 0
            self.most = sys.maxsize if code.co_flags & inspect.CO_VARARGS else code.co_argcount - filled
            self.least = max(code.co_argcount - len(stub.__defaults__ or ()) - filled, 0)
        self._stub = stub


def _rebuild(name: str, bound: bool, text: str) -> Signature:
    return Signature(name, None, bound=bound, text=text)


def _parameters(function: Callable[..., Any]) -> str:
    try:
        found = inspect.signature(function)
    except (ValueError, TypeError):  # some functions of C modules tell nothing
        return "(*args, **kwargs)"
    plain = [
        parameter.replace(
            annotation=parameter.empty,
            default=parameter.empty if parameter.default is parameter.empty else _DEFAULT,
        )
        for parameter in found.parameters.values()
    ]
    return str(inspect.Signature(plain)).replace("=Ellipsis", "=...")
