"""What `check` and `hint` return: readable on a page and in a terminal."""

from __future__ import annotations

import html
from dataclasses import dataclass

__all__ = ["Hint", "Result"]


@dataclass(frozen=True)
class Result:
    """What `check` has to say: true if right, readable on a page and in a terminal."""

    name: str
    status: str
    text: str = ""
    rows: tuple[tuple[str, str], ...] = ()
    says: str = ""

    def __bool__(self) -> bool:
        return self.status == "correct"

    def __repr__(self) -> str:
        lines = [f"{self.name}: {self.status}. {self.text}".rstrip()]
        width = max((len(label) for label, _ in self.rows), default=0)
        for label, value in self.rows:
            lines.append(f"  {label:{width}}  " + value.replace("\n", "\n" + " " * (width + 4)))
        if self.says:
            lines.append(self.says)
        elif self.status == "not yet":
            lines.append(f'Stuck? hint("{self.name}") helps.')
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        mark, color = {"correct": ("✓", "#00734f"), "not yet": ("✗", "#b34700")}.get(
            self.status, ("…", "#5a5a5a")
        )
        parts = [
            f'<strong style="color:{color}">{mark} {html.escape(self.name)}: {self.status}.'
            f"</strong> {html.escape(self.text)}"
        ]
        if self.rows:
            cells = "".join(
                f'<tr style="background:none"><th scope="row" style="text-align:left;'
                f'vertical-align:top;padding:2px 12px 2px 0;border:0">{html.escape(label)}</th>'
                f'<td style="text-align:left;padding:2px 0;border:0"><code style="white-space:'
                f"pre-wrap;overflow-wrap:anywhere;background:none;color:inherit;border:0;"
                f'padding:0">{html.escape(value)}</code></td></tr>'
                for label, value in self.rows
            )
            parts.append(
                f'<table style="margin:6px 0;border:0;width:auto;color:inherit">{cells}</table>'
            )
        if self.says:
            parts.append(f'<div style="margin-top:6px">{html.escape(self.says)}</div>')
        elif self.status == "not yet":
            stuck = html.escape(f'hint("{self.name}")')
            parts.append(
                f'<div style="margin-top:6px">Stuck? <code style="background:none;color:inherit;'
                f'border:0;padding:0">{stuck}</code> helps.</div>'
            )
        return _card("".join(parts), color)


@dataclass(frozen=True)
class Hint:
    """One step of help."""

    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return _card(html.escape(self.text), "#0072b2")


def _card(body: str, color: str) -> str:
    return (
        f'<div class="mrcheck" style="box-sizing:border-box;max-width:44rem;margin:.5rem 0;'
        f"padding:10px 14px;background:#fff;color:#1a1a1a;color-scheme:light;"
        f"border:1px solid #d0d0d0;border-left:5px solid {color};border-radius:6px;"
        f'font:16px/1.45 system-ui,sans-serif;overflow-x:auto">{body}</div>'
    )
