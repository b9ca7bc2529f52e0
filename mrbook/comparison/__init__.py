"""All layers side by side: the same tasks, about equal parameters, the same budget, over seeds.

``python -m mrbook compare --record`` makes the records, `load_rows` reads them.
"""

from mrbook.comparison.experiments import Experiment, Probe, Result, Training
from mrbook.comparison.lags import lag_bins, lag_profile
from mrbook.comparison.plan import EXPERIMENTS
from mrbook.comparison.probes import PROBES, ProbeNet, probe_data, probe_kernel, train_probe
from mrbook.comparison.recording import make_row, record_rows
from mrbook.comparison.rows import (
    Row,
    Separation,
    find_experiment,
    load_rows,
    load_speed,
    rerun,
    separation,
)
from mrbook.comparison.speed import SPEED, measure_speed
from mrbook.comparison.tables import text_table
from mrbook.comparison.variants import ABLATIONS, LAYER_ROWS, VARIANTS, Variant, match_width

__all__ = [
    "ABLATIONS",
    "EXPERIMENTS",
    "LAYER_ROWS",
    "PROBES",
    "SPEED",
    "VARIANTS",
    "Experiment",
    "Probe",
    "ProbeNet",
    "Result",
    "Row",
    "Separation",
    "Training",
    "Variant",
    "find_experiment",
    "lag_bins",
    "lag_profile",
    "load_rows",
    "load_speed",
    "make_row",
    "match_width",
    "measure_speed",
    "probe_data",
    "probe_kernel",
    "record_rows",
    "rerun",
    "separation",
    "text_table",
    "train_probe",
]
