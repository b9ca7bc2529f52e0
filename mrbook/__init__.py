"""Wavelets and multiresolution convolutions for sequences: the package behind the book.

Import from the module that carries the idea, under the name its chapter uses::

    from mrbook.filters import Wavelet
    from mrbook.dwt import wavedec, waverec
"""

__version__ = "0.1.0"
