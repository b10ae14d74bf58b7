"""The directive ``.. transitions:: MODULE``: a state machine's table of transitions as a picture and a legend.

It is drawn from ``MODULE.TRANSITIONS``, which the machine's own tests hold it to, so that the picture cannot be of
another machine. Our own lines of SVG and not Graphviz, which would have to be installed to build the documents.
"""

from __future__ import annotations

import math
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT, _RX, _RY = 520, 300, 70, 26


class Transitions(Directive):
    """Draws, and lists what the numbers mean."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The picture, and the legend."""
        table = [(str(old), what, str(new)) for old, what, new in import_module(self.arguments[0]).TRANSITIONS]
        legend = nodes.enumerated_list()
        for old, what, new in table:
            item = nodes.list_item()
            item += nodes.paragraph("", "", nodes.strong("", f"{_name(old)} → {_name(new)}"), nodes.Text(f": {what}"))
            legend += item
        return [nodes.raw("", draw(table), format="html"), legend]


def draw(table: Sequence[tuple[str, str, str]]) -> str:
    """States on a circle, clockwise from the left; each transition a bent arrow with its number."""
    states = list(dict.fromkeys(name for old, _, new in table for name in (old, new)))
    places = {}
    for index, state in enumerate(states):
        angle = math.pi + 2 * math.pi * index / len(states)
        places[state] = (_WIDTH / 2 + math.cos(angle) * 170, _HEIGHT / 2 + math.sin(angle) * 110)
    parts = [_arrow(places[old], places[new], number) for number, (old, _, new) in enumerate(table, 1)]
    parts += [_state(state, *places[state]) for state in states]
    head = '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    head += '<path d="M0 0L8 4L0 8z" fill="currentColor"/></marker>'
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}"'
    body = "".join(parts)
    return f'<svg {size} role="img" aria-label="transitions" font-size="14"><defs>{head}</defs>{body}</svg>'


def _arrow(start: tuple[float, float], end: tuple[float, float], number: int) -> str:
    (x1, y1), (x2, y2) = start, end
    length = math.hypot(x2 - x1, y2 - y1)
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    bend = 36  # to the right of its way, so that there and back are two arrows
    mx, my = (x1 + x2) / 2 - dy * bend, (y1 + y2) / 2 + dx * bend
    (x1, y1), (x2, y2) = _edge(start, (mx, my)), _edge(end, (mx, my))
    path = f'<path d="M{x1:.0f} {y1:.0f}Q{mx:.0f} {my:.0f} {x2:.0f} {y2:.0f}" fill="none" stroke="currentColor" '
    path += 'marker-end="url(#head)"/>'
    return path + f'<text x="{mx:.0f}" y="{my + 5:.0f}" text-anchor="middle" fill="currentColor">{number}</text>'


def _edge(centre: tuple[float, float], towards: tuple[float, float]) -> tuple[float, float]:
    """Where the way from a centre leaves the ellipse of its state."""
    dx, dy = towards[0] - centre[0], towards[1] - centre[1]
    scale = 1 / math.hypot(dx / (_RX + 4), dy / (_RY + 4))
    return centre[0] + dx * scale, centre[1] + dy * scale


def _state(name: str, x: float, y: float) -> str:
    shape = f'<ellipse cx="{x:.0f}" cy="{y:.0f}" rx="{_RX}" ry="{_RY}" fill="none" stroke="currentColor"/>'
    text = f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle" fill="currentColor">{escape(_name(name))}</text>'
    return shape + text


def _name(state: str) -> str:
    return state.replace("_", "-")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.add_directive("transitions", Transitions)
