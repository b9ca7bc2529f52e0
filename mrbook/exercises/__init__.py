"""Exercises that check themselves.

``check("name", answer)`` says whether an answer is right and, if not, on which small input it goes
wrong; ``hint("name")`` helps one step further each time it is called. Neither tells the solution.
The exercises of chapter NN are defined in ``chapter_NN.py``; `engine` describes how.
"""

from mrbook.exercises.engine import check, hint

__all__ = ["check", "hint"]
