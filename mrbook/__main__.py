"""The command line: ``python -m mrbook``, or ``mrbook`` where it is installed."""

import argparse
import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence

import mrbook


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        The exit status: 0, or 1 if the command could not do its work.
    """
    from mrbook.bench import SUITES

    parser = argparse.ArgumentParser(prog="mrbook", description=mrbook.__doc__.split("\n")[0])
    parser.add_argument("--version", action="version", version=f"mrbook {mrbook.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    bench = commands.add_parser("bench", help="time the package beside others")
    bench.add_argument(
        "suites", nargs="*", metavar="suite", help=f"{', '.join(SUITES)} (default: all)"
    )
    bench.add_argument("--repeats", type=int, default=50, help="rounds (default: 50)")
    bench.add_argument("--device", default="cpu", help="where to run (default: cpu)")
    bench.add_argument("--threads", type=int, help="threads of torch (default: torch's own)")
    bench.add_argument(
        "--record",
        action="store_true",
        help="keep the results in book/records/bench/SUITE-DEVICE.json, in place of older ones",
    )
    bench.set_defaults(run=_bench)

    doctor = commands.add_parser("doctor", help="say what is here and what is missing")
    doctor.set_defaults(run=_doctor)

    options = parser.parse_args(arguments)
    return options.run(options)


def _bench(options: argparse.Namespace) -> int:
    import torch

    from mrbook.bench import SUITES
    from mrbook.bench.engine import run
    from mrbook.records import environment, write_record

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    here = environment()
    print(f"{here['cpu']}, {here['threads']} threads, torch {here['packages']['torch']}\n")
    try:
        for suite in options.suites or SUITES:
            result = run(suite, repeats=options.repeats, device=options.device)
            if options.record:
                command = (
                    f"python -m mrbook bench {suite} --repeats {options.repeats} "
                    f"--device {options.device} --threads {torch.get_num_threads()}"
                )
                name = f"{suite}-{options.device.replace(':', '-')}"
                payload = {"command": command, **result}
                print(f"recorded in {write_record('bench', name, payload, overwrite=True)}\n")
    except (ImportError, ValueError, OSError) as error:
        print(f"mrbook bench: {error}", file=sys.stderr)
        return 1
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from mrbook.records import environment

    here = environment()
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    commit = here["commit"]
    lines = {
        "mrbook": here["mrbook"],
        "commit": f"{commit[:12]}{' and changes' if here['dirty'] else ''}" if commit else "none",
        "python": here["python"],
        **here["packages"],
        "platform": here["platform"],
        "cpu": here["cpu"],
        "cores": here["cores"],
        "threads": here["threads"],
        "device": here["device"],
        "compiler": compiler or "none",
    }
    for name, value in lines.items():
        print(f"{name:12}{value}")
    missing = [
        f"{name}: {why}" for name, why in _OPTIONAL.items() if not importlib.util.find_spec(name)
    ]
    if compiler is None:
        missing.append(
            f"a C++ compiler ({', '.join(_COMPILERS)}): torch.compile on the CPU needs it"
        )
    print("\nmissing" if missing else "\nnothing is missing")
    for line in missing:
        print(f"  {line}")
    return 0


_COMPILERS = tuple(filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++", "cl")))
_OPTIONAL = {
    "ipywidgets": 'sliders in notebooks: pip install "mrbook[interactive]"',
    "ptwt": 'python -m mrbook bench: pip install "mrbook[bench]"',
}

if __name__ == "__main__":
    sys.exit(main())
