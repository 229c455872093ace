"""Templates for titles and bodies: a bounded subset of Jinja2, written by teams in rules files.

Rules compile them at load, messages are rendered with them. Two walls: at load only a closed
list of syntax passes, with operators and loops swapped for our own (:class:`_Checker`); at run
the sandbox reads nothing but keys of dicts and indexes of lists, and counts its work. Nothing is
ever called, set or escaped; each driver escapes. Other than in Jinja2, a missing value equals "",
none prints as "", ``default`` also replaces none, ``truncate`` has no leeway, and a line with
nothing but a tag leaves no line.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

import jinja2
from jinja2 import ChainableUndefined, nodes
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from router.rulebook.template_filters import FILTERS, OPERATORS, TESTS, Meter, TemplateError, number, printed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jinja2.runtime import Context

#: What a template may name; whoever renders gives these.
NAMES: Final = ("alerts", "annotations", "group", "incident", "labels", "links", "receiver")
MAX_TITLE: Final = 1_000
MAX_BODY: Final = 8_000
MAX_SOURCE: Final = 8_192
#: By feel: far above what people write, far below what makes Python's compiler or stack grumble.
MAX_NODES: Final = 500
MAX_DEPTH: Final = 40
MAX_LOOPS: Final = 2

_MAX_NUMBER: Final = 2**53
#: What can be read of ``loop``.
_LOOP: Final = ("first", "index", "index0", "last", "length")
_LOOP_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_STRING: Final = re.compile(r"""(?:[^\\]|\\[\\'"nt])*""")


# --- The second wall: what a compiled template can reach ---


class _Sandbox(ImmutableSandboxedEnvironment):
    """The second wall: reads keys and indexes, never attributes, and calls nothing."""

    context_class = Meter
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    intercepted_unops = frozenset({"+", "-"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return what the key names; Python's attributes are never looked at."""
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return a dict's value, a list's item, one of ``loop``'s, or an undefined value."""
        if isinstance(obj, dict):
            if argument in obj:
                return obj[argument]
        elif isinstance(obj, list):
            if isinstance(argument, int) and 0 <= argument < len(obj):
                return obj[argument]
        elif isinstance(obj, LoopContext) and argument in _LOOP:
            return getattr(obj, argument)
        return self.undefined(name=str(argument))

    def is_safe_callable(self, obj: Any) -> bool:  # noqa: ARG002  the sandbox's signature
        """Nothing is."""
        return False

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002  as above
        """Add or subtract numbers."""
        if operator not in {"+", "-"}:
            raise TemplateError(f"there is no {operator} in templates")
        return number(left) + (number(right) if operator == "+" else -number(right))

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:  # noqa: ARG002  as above
        """Return the number or its negative."""
        return number(arg) if operator == "+" else -number(arg)


_ENVIRONMENT: Final = _Sandbox(
    autoescape=False,  # each driver escapes
    finalize=printed,
    # No folding: what is constant is worked out at run, under the budget.
    optimized=False,
    undefined=ChainableUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.globals.clear()
_ENVIRONMENT.tests = dict(TESTS)
_ENVIRONMENT.filters = FILTERS | OPERATORS


@dataclass(frozen=True, slots=True)
class Template:
    """A checked and compiled template; equal to those with the same source."""

    source: str
    _code: jinja2.Template = field(repr=False, compare=False)

    def render(self, context: Mapping[str, Any], limit: int) -> str:
        """Return the text, cut with an ellipsis at ``limit`` characters.

        Args:
            context: values for :data:`NAMES`; only text, numbers, booleans, None, dicts and lists of these.
            limit: for example :data:`MAX_TITLE`; nothing is generated past it.

        Raises:
            TemplateError: and nothing else; the values do not fit or it is too much work.
        """
        given = {name: context[name] for name in NAMES if name in context}
        parts: list[str] = []
        left = limit
        try:
            for part in self._code.root_render_func(Meter(_ENVIRONMENT, given, None, {})):
                parts.append(part)
                left -= len(part)
                if left < 0:
                    return "".join(parts)[: max(limit - 1, 0)] + "…"[: max(limit, 0)]
        except TemplateError as exc:
            raise TemplateError(f"line {self._line(exc)}: {exc}", exc.hint) from None
        except Exception as exc:  # noqa: BLE001  whatever a team wrote must not stop a page
            message = f"line {self._line(exc)}: the values do not fit ({type(exc).__name__})"
            raise TemplateError(message, "make numbers with |int before counting or sorting") from None
        return "".join(parts)

    def _line(self, exc: Exception) -> int:
        line, step = 1, exc.__traceback__
        while step is not None:
            if step.tb_frame.f_code.co_filename == "<template>":
                line = self._code.get_corresponding_lineno(step.tb_lineno)
            step = step.tb_next
        return line


def compiled(text: str) -> Template:
    """Return the template, checked and ready.

    Raises:
        TemplateError: and nothing else, whatever the text.
    """
    if len(text) > MAX_SOURCE:
        raise TemplateError(
            f"the template is longer than {MAX_SOURCE} characters", "write less, link to more"
        )
    try:
        _check_strings(text)
        tree = _Checker().visit(_ENVIRONMENT.parse(text))
        return Template(text, _ENVIRONMENT.from_string(tree))
    except TemplateError:
        raise
    except jinja2.TemplateSyntaxError as exc:
        raise _refused(
            exc.lineno, (exc.message or "")[:200], "the syntax is Jinja2's, a part of it"
        ) from None
    except RecursionError:
        raise TemplateError("the template is nested too deeply", "take brackets away") from None
    except Exception as exc:  # noqa: BLE001  numbers of 5,000 digits, half a surrogate pair
        message = f"the template cannot be read ({type(exc).__name__})"
        raise TemplateError(message, "write plain text, names and numbers") from None


def _check_strings(source: str) -> None:
    source.encode()  # half a surrogate pair must not reach a receiver
    for line, kind, value in _ENVIRONMENT.lex(source):
        if kind == "string" and not _STRING.fullmatch(value):
            raise _refused(line, "unknown escape", r"the escapes are \\ \' \" \n and \t")


def _refused(line: int, message: str, hint: str) -> TemplateError:
    return TemplateError(f"line {line}: {message}", hint)


# --- The first wall: what may stand in a template ---

_ALONE: Final = ("a template stands alone", "write the text out here")
_SET: Final = ("names cannot be set", "write the expression where it is needed")
_MATH: Final = ("of arithmetic there is only + and -", "compute it in the alert's annotations")
_CALLS: Final = (
    "nothing can be called",
    "use a filter: labels.team|upper, for key, value in labels|dictsort",
)
_WHY: Final[dict[type[nodes.Node], tuple[str, str]]] = {
    nodes.Call: _CALLS,
    nodes.Macro: _CALLS,
    nodes.CallBlock: _CALLS,
    nodes.Assign: _SET,
    nodes.AssignBlock: _SET,
    nodes.With: _SET,
    nodes.Include: _ALONE,
    nodes.Import: _ALONE,
    nodes.FromImport: _ALONE,
    nodes.Extends: _ALONE,
    nodes.Block: _ALONE,
    nodes.Mul: _MATH,
    nodes.Div: _MATH,
    nodes.FloorDiv: _MATH,
    nodes.Mod: _MATH,
    nodes.Pow: _MATH,
    nodes.FilterBlock: ("there is no filter block", "write {{ value|upper }}"),
    nodes.Scope: ("there is no autoescape", "remove it; each receiver escapes by itself"),
    nodes.Dict: ("a template cannot make keys with values", "write conditions with if and elif"),
}


class _Checker:
    """Walks a parsed template: refuses what is not in the list, swaps operators for our own."""

    def __init__(self) -> None:
        self.names = frozenset(NAMES)
        self.count = 0
        self.depth = 0
        self.loops = 0
        self.line = 1

    def visit(self, node: nodes.Node) -> Any:
        """Return what stands for the node in the checked tree."""
        self.count += 1
        self.depth += 1
        node.lineno = self.line = node.lineno or self.line  # Jinja2 leaves some without
        if self.count > MAX_NODES:
            raise _refused(node.lineno, f"the template has more than {MAX_NODES} parts", "write less")
        if self.depth > MAX_DEPTH:
            raise _refused(node.lineno, f"nested more than {MAX_DEPTH} deep", "write it flatter")
        check = self._ALLOWED.get(type(node))
        if check is None:
            what = type(node).__name__.lower()
            raise _refused(node.lineno, *_WHY.get(type(node), (f"{what} is not in templates", "remove it")))
        found = check(self, node)
        self.depth -= 1
        return found

    def all(self, found: Iterable[nodes.Node]) -> list[Any]:
        """Return what stands for each node."""
        return [self.visit(node) for node in found]

    def _plain(self, node: nodes.Node) -> nodes.Node:
        for name, value in node.iter_fields():
            if isinstance(value, list):
                setattr(node, name, self.all(value))
            elif isinstance(value, nodes.Node):
                setattr(node, name, self.visit(value))
        return node

    def _const(self, node: nodes.Const) -> nodes.Node:
        value = node.value
        if isinstance(value, int | float) and not abs(value) <= _MAX_NUMBER:
            raise _refused(node.lineno, "the number is too large", f"at most {_MAX_NUMBER}")
        return node

    def _name(self, node: nodes.Name) -> nodes.Node:
        if node.name == "loop" and "loop" in self.names:
            raise _refused(node.lineno, "loop is no value", f"write loop.{', loop.'.join(_LOOP)}")
        if node.name not in self.names:
            hint = f"there are: {', '.join(sorted(self.names))}"
            raise _refused(node.lineno, f"unknown name {node.name[:60]!r}", hint)
        return node

    def _getattr(self, node: nodes.Getattr) -> nodes.Node:
        inner = node.node
        if isinstance(inner, nodes.Name) and inner.name == "loop" and "loop" in self.names:
            if node.attr not in _LOOP:
                hint = f"there are: loop.{', loop.'.join(_LOOP)}"
                raise _refused(node.lineno, f"unknown loop.{node.attr[:60]}", hint)
            return node
        self._key(node.lineno, node.attr)
        node.node = self.visit(inner)
        return node

    def _getitem(self, node: nodes.Getitem) -> nodes.Node:
        key = node.arg.value if isinstance(node.arg, nodes.Const) else None
        if isinstance(key, bool) or not isinstance(key, str | int):
            hint = 'write labels["name"] or alerts[0]; for parts use first, last or truncate'
            raise _refused(node.lineno, "only a fixed text or number may stand in [...]", hint)
        self._key(node.lineno, key)
        return self._plain(node)

    def _key(self, line: int, key: str | int) -> None:
        if isinstance(key, str) and key.startswith("_"):
            raise _refused(
                line, f"{key[:60]!r} begins with an underscore", "only names of values can be read"
            )

    def _filter(self, node: nodes.Filter) -> nodes.Node:
        self._signature(node, "filter", FILTERS)
        return self._inside(node)

    def _test(self, node: nodes.Test) -> nodes.Node:
        self._signature(node, "test", TESTS)
        return self._inside(node)

    def _inside(self, node: nodes.Filter | nodes.Test) -> nodes.Node:
        node.node = self.visit(node.node or nodes.Const(None))
        node.args = self.all(node.args)
        for pair in node.kwargs:
            pair.value = self.visit(pair.value)
        return node

    def _signature(self, node: nodes.Filter | nodes.Test, what: str, known: Mapping[str, Any]) -> None:
        function = known.get(node.name)
        if function is None:
            hint = f"there are: {', '.join(sorted(known))}"
            raise _refused(node.lineno, f"unknown {what} {node.name[:60]!r}", hint)
        words = [str(pair.key) for pair in node.kwargs]
        signature = inspect.signature(function)
        try:
            signature.bind(None, None, *node.args, **dict.fromkeys(words))
            fits = not (node.dyn_args or node.dyn_kwargs) and len(set(words)) == len(words)
        except TypeError:
            fits = False
        if not fits:
            takes = ", ".join([str(one.name) for one in signature.parameters.values()][2:]) or "nothing"
            hint = f"in brackets it takes: {takes}"
            raise _refused(node.lineno, f"wrong arguments for {what} {node.name!r}", hint)

    def _sum(self, node: nodes.Add | nodes.Sub) -> nodes.Node:
        for side in (node.left, node.right):
            if isinstance(side, nodes.Const) and isinstance(side.value, str):
                raise _refused(node.lineno, "+ and - are for numbers", "join texts with ~")
        return self._plain(node)

    def _concat(self, node: nodes.Concat) -> nodes.Node:
        first, *more = self.all(node.nodes)
        return _own("~", first, more)

    def _compare(self, node: nodes.Compare) -> nodes.Node:
        if len(node.ops) != 1:
            raise _refused(node.lineno, "comparisons cannot be chained", "write a < b and b < c")
        operand = node.ops[0]
        sides = self.all([node.expr, operand.expr])
        return _own("compare", sides[0], [nodes.Const(operand.op), sides[1]])

    def _tuple(self, node: nodes.Tuple) -> nodes.Node:
        return nodes.List(self.all(node.items), lineno=node.lineno)

    def _for(self, node: nodes.For) -> nodes.Node:
        if node.recursive or self.loops == MAX_LOOPS:
            raise _refused(node.lineno, f"loops nest at most {MAX_LOOPS} deep", "write it flatter")
        names = self._targets(node)
        outer = self.names
        node.iter = self.visit(node.iter)
        node.else_ = self.all(node.else_)
        before = self.count
        self.names = outer | names
        node.test = self.visit(node.test) if node.test else None
        self.names |= {"loop"}
        self.loops += 1
        node.body = self.all(node.body)
        self.loops -= 1
        self.names = outer
        node.iter = _own("each", node.iter, [nodes.Const(self.count - before + 1)])
        return node

    def _targets(self, node: nodes.For) -> frozenset[str]:
        found: list[nodes.Node] = [node.target]
        if isinstance(node.target, nodes.Tuple):
            found = list(node.target.items)
            sorted_pairs = isinstance(node.iter, nodes.Filter) and node.iter.name == "dictsort"
            if len(found) != 2 or not sorted_pairs:
                hint = "write for key, value in labels|dictsort"
                raise _refused(node.lineno, "two names need pairs of key and value", hint)
        names = {one.name for one in found if isinstance(one, nodes.Name) and _LOOP_NAME.fullmatch(one.name)}
        if len(names) != len(found) or names & (self.names | {"loop"}):
            raise _refused(node.lineno, "a loop needs a name of its own", "write for alert in alerts")
        return frozenset(names)

    _ALLOWED: ClassVar[dict[type[nodes.Node], Callable[[_Checker, Any], nodes.Node]]] = {
        **dict.fromkeys((nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.CondExpr), _plain),
        **dict.fromkeys((nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.List), _plain),
        **dict.fromkeys((nodes.Add, nodes.Sub), _sum),
        nodes.Compare: _compare,
        nodes.Concat: _concat,
        nodes.Const: _const,
        nodes.Filter: _filter,
        nodes.For: _for,
        nodes.Getattr: _getattr,
        nodes.Getitem: _getitem,
        nodes.Name: _name,
        nodes.Test: _test,
        nodes.Tuple: _tuple,
    }


def _own(name: str, value: Any, args: list[Any]) -> nodes.Filter:
    """Return a call of one of our functions that no template can name."""
    return nodes.Filter(value, name, args, [], None, None, lineno=value.lineno)
