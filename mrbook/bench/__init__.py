"""Timings: every method in turn, in one process, after a check that all give the same answer.

A suite is a module with a function ``cases(device)`` that yields objects of
`mrbook.bench.engine.Case`. To add one, write the module and name it here.
"""

#: Name on the command line and module of each suite; a module is imported when it runs.
SUITES = {
    "drawing": "mrbook.bench.drawing",
    "dwt": "mrbook.bench.dwt",
    "longconv": "mrbook.bench.longconv",
    "mrconv": "mrbook.bench.mrconv",
    "multires": "mrbook.bench.multires",
    "online": "mrbook.bench.online",
    "sampling": "mrbook.bench.sampling",
}
