"""Timings: every method in turn, in one process, after a check that all give the same answer.

In one suite, that of the layers, they are meant to differ, and no answers are compared.

A suite is a module with a function ``cases(device)`` that yields objects of
`mrbook.bench.engine.Case`. To add one, write the module and name it here.
"""

#: Name on the command line and module of each suite; a module is imported when it runs.
SUITES = {
    "drawing": "mrbook.bench.drawing",
    "dwt": "mrbook.bench.dwt",
    "layers": "mrbook.bench.layers",
    "longconv": "mrbook.bench.longconv",
    "mrconv": "mrbook.bench.mrconv",
    "multires": "mrbook.bench.multires",
    "online": "mrbook.bench.online",
    "sampling": "mrbook.bench.sampling",
}
