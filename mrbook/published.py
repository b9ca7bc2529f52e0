"""Published scores, each once, as the two talks print them, with citation keys.

The figures are as printed by the talk on MultiresConv and the poster on MRConv, digits and all;
neither gives a spread over seeds. Where a figure stands elsewhere, `Score.source` says so. Citation
keys are those of the book's bibliography.

References
----------
J. Shi, K. A. Wang, E. B. Fox, "Sequence Modeling with Multiresolution Convolutional Memory",
ICML 2023, arXiv:2305.01638.

H. J. Cunningham, G. Giannone, M. Zhang, M. P. Deisenroth, "Reparameterized Multi-Resolution
Convolutions for Long Sequence Modelling", NeurIPS 2024, arXiv:2408.09453.
"""

from dataclasses import dataclass

__all__ = ["DRAWING", "LISTOPS", "LRA", "LRA_TASKS", "SCIFAR", "TIED", "LRAScores", "Score"]

_TALK = "shi2023multires"
_POSTER = "cunningham2024mrconv"


@dataclass(frozen=True)
class Score:
    """One row of a table.

    Attributes
    ----------
    family : str
        The heading that the talk puts it under.
    model : str
        Name of the method.
    key : str
        Citation key of the method.
    printed : str
        The figure with the digits of its source: percent, or bits per dimension.
    parameters : str
        Number of parameters as printed, "" where there is none.
    source : str
        Citation key of the work that the figure is from.

    Examples
    --------
    >>> best = max(LISTOPS, key=lambda score: score.value)
    >>> best.model, best.printed, best.value
    ('Liquid-S4', '62.75', 62.75)
    """

    family: str
    model: str
    key: str
    printed: str
    parameters: str = ""
    source: str = _TALK

    @property
    def value(self) -> float:
        """The figure as a number."""
        return float(self.printed)


#: Sequential CIFAR-10, accuracy in percent. The poster has no figure for MRConv; this one is as
#: others' listings of its paper give it.
SCIFAR = (
    Score("Attention", "Transformer", "trinh2018learning", "62.2"),
    Score("RNN", "LSTM", "hochreiter1997long", "63.01"),
    Score("RNN", "r-LSTM", "trinh2018learning", "72.2"),
    Score("RNN", "UR-GRU", "gu2020gating", "74.4"),
    Score("RNN", "HiPPO-RNN", "gu2020hippo", "61.1"),
    Score("RNN", "LipschitzRNN", "erichson2021lipschitz", "64.2"),
    Score("State space", "S4", "gu2022s4", "91.80", "7.9 M"),
    Score("State space", "S4D", "gu2022s4d", "90.69"),
    Score("State space", "S5", "smith2023s5", "90.10"),
    Score("State space", "Liquid-S4", "hasani2023liquid", "92.02"),
    Score("Convolution", "TrellisNet", "bai2019trellis", "73.42"),
    Score("Convolution", "CKConv", "romero2022ckconv", "63.74"),
    Score("Convolution", "FlexConv", "romero2022flexconv", "80.82"),
    Score("Convolution", "MultiresNet", "shi2023multires", "93.15", "1.4 M"),
    Score("Convolution", "MRConv", "cunningham2024mrconv", "94.26", source=_POSTER),
)

#: Long ListOps, accuracy in percent. The talk repeats the row above for Linformer; this figure is
#: the benchmark's.
LISTOPS = (
    Score("Attention", "Local Attention", "tay2021long", "15.82"),
    Score("Attention", "Linear Transformer", "katharopoulos2020transformers", "16.13"),
    Score("Attention", "Linformer", "wang2020linformer", "35.70", source="tay2021long"),
    Score("Attention", "Sparse Transformer", "child2019generating", "17.07"),
    Score("Attention", "Performer", "choromanski2021rethinking", "18.01"),
    Score("Attention", "Transformer", "vaswani2017attention", "36.37"),
    Score("Attention", "Sinkhorn Transformer", "tay2020sparse", "33.67"),
    Score("Attention", "FNet", "leethorp2022fnet", "35.33"),
    Score("Attention", "Longformer", "beltagy2020longformer", "35.63"),
    Score("Attention", "BigBird", "zaheer2020big", "36.05"),
    Score("Attention", "Nyströmformer", "xiong2021nystromformer", "37.15"),
    Score("Attention", "Luna-256", "ma2021luna", "37.25"),
    Score("Attention", "Reformer", "kitaev2020reformer", "37.27"),
    Score("Attention", "H-Transformer-1D", "zhu2021htransformer", "49.53"),
    Score("State space", "S4", "gu2022s4", "59.60"),
    Score("State space", "DSS", "gupta2022diagonal", "57.6"),
    Score("State space", "S4D", "gu2022s4d", "60.52"),
    Score("State space", "S5", "smith2023s5", "62.15"),
    Score("State space", "Liquid-S4", "hasani2023liquid", "62.75"),
    Score("Convolution", "CDIL", "cheng2023cdil", "44.05"),
    Score("Convolution", "SGConv", "li2023makes", "61.45"),
    Score("Convolution", "MultiresNet", "shi2023multires", "62.75"),
    Score("Convolution", "MRConv", "cunningham2024mrconv", "62.40", source=_POSTER),
)

#: Drawing CIFAR-10 pixel by pixel, bits per dimension on test data.
DRAWING = (
    Score("RNN, 2D bias", "PixelRNN", "oord2016pixel", "3.00"),
    Score("2D convolution", "PixelCNN", "oord2016pixel", "3.14"),
    Score("2D convolution", "Gated PixelCNN", "oord2016conditional", "3.03"),
    Score("2D convolution", "PixelCNN++", "salimans2017pixelcnn", "2.92", "53 M"),
    Score("2D convolution, attention", "PixelSNAIL", "chen2018pixelsnail", "2.85", "46 M"),
    Score("1D attention", "Image Transformer", "parmar2018image", "2.90"),
    Score("2D attention", "Sparse Transformer", "child2019generating", "2.80", "59 M"),
    Score("State space, U-Net", "S4", "gu2022s4", "2.85"),
    Score("Convolution", "MultiresNet", "shi2023multires", "2.84", "38 M"),
)

#: MultiresNet's accuracy in percent, with filters that the levels share and with filters of their
#: own, for each task.
TIED = {"scifar": ("93.15", "92.16"), "listops": ("62.75", "61.85")}


@dataclass(frozen=True)
class LRAScores:
    """One row of the poster's table on the Long Range Arena.

    Attributes
    ----------
    family : str
        The heading that the poster puts it under.
    model : str
        Name of the method.
    key : str
        Citation key of the method.
    printed : tuple of str
        Accuracies in percent, one for each of `LRA_TASKS`; "" where the poster has none.
    average : str
        The average as printed, "" where the poster has none.

    Examples
    --------
    >>> mrconv = LRA[-1]
    >>> mrconv.model, mrconv.values["Image"], mrconv.average
    ('MRConv', 90.37, '87.81')
    """

    family: str
    model: str
    key: str
    printed: tuple[str, ...]
    average: str

    @property
    def values(self) -> dict[str, float]:
        """The accuracies that are printed, by task."""
        pairs = zip(LRA_TASKS, self.printed, strict=True)
        return {task: float(printed) for task, printed in pairs if printed}


#: The six tasks of the Long Range Arena, in the poster's order.
LRA_TASKS = ("ListOps", "Text", "Retrieval", "Image", "Pathfinder", "Path-X")


def _row(family: str, model: str, key: str, line: str) -> LRAScores:
    *printed, average = ("" if word == "-" else word for word in line.split())
    return LRAScores(family, model, key, tuple(printed), average)


#: Long Range Arena, accuracy in percent, as the poster on MRConv prints it. The Transformer has no
#: figure for Path-X, where the benchmark found it at chance, and its average counts 50 there.
LRA = (
    _row("", "Transformer", "vaswani2017attention", "36.37 64.27 57.46 42.44 71.40 - 53.66"),
    _row(
        "Linear-time attention",
        "MEGA-chunk",
        "ma2023mega",
        "58.76 90.19 90.97 85.80 94.41 93.81 85.66",
    ),
    _row("State space", "S4D-LegS", "gu2022s4d", "60.47 86.18 89.46 88.19 93.06 91.95 84.89"),
    _row("State space", "S4-LegS", "gu2022s4", "59.60 86.82 90.90 88.65 94.20 96.35 86.09"),
    _row(
        "State space", "Liquid-S4", "hasani2023liquid", "62.75 89.02 91.20 89.50 94.8 96.66 87.32"
    ),
    _row("State space", "S5", "smith2023s5", "62.15 89.31 91.40 88.00 95.33 98.58 87.46"),
    _row("Convolution", "CCNN", "romero2022ccnn", "43.60 84.08 - 88.90 91.51 - -"),
    _row("Convolution", "Long Conv", "fu2023simple", "62.2 89.6 91.3 87.0 93.2 96.0 86.6"),
    _row("Convolution", "SGConv", "li2023makes", "61.45 89.20 91.11 87.97 95.46 97.83 87.17"),
    _row(
        "Convolution", "MRConv", "cunningham2024mrconv", "62.40 89.26 91.44 90.37 95.55 97.82 87.81"
    ),
)
