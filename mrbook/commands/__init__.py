"""Commands of ``python -m mrbook`` that are too long for `mrbook.__main__`."""
