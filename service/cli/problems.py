"""Problems of the settings, for people. Knows no file."""

from __future__ import annotations

from service.errors import Problem


def told(problems: list[Problem]) -> str:
    """Return two lines for each problem: what is wrong where, and what to do."""
    lines = []
    for problem in problems:
        where = f"line {problem.line}: " if problem.line else ""
        lines.append(f"  {where}{problem.path}: {problem.msg}")
        lines.append(f"      {problem.hint}")
    return "\n".join(lines)
