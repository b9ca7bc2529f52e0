"""The command line: ``python -m mrbook``, or ``mrbook`` where it is installed."""

import argparse
import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence

import mrbook
from mrbook.commands import train


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        The exit status: 0, 1 if the command could not do its work, or 130 if it was interrupted.
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

    train.add_arguments(commands.add_parser("train", help="train a network by a recipe"))

    side = commands.add_parser("compare", help="train all layers side by side")
    side.add_argument("experiments", nargs="*", metavar="experiment", help="default: all")
    side.add_argument(
        "--record",
        action="store_true",
        help="make the rows that book/records/compare has not yet; without it, show what is there",
    )
    side.add_argument("--again", action="store_true", help="with --record, make all rows again")
    side.add_argument("--records", metavar="FOLDER", help="in place of book/records")
    side.set_defaults(run=_compare)

    report = commands.add_parser("report", help="write the book's page of results from records")
    report.add_argument("--records", metavar="FOLDER", help="default: book/records")
    report.add_argument("--out", metavar="FILE", help="default: book/results.md")
    report.set_defaults(run=_report)

    publish = commands.add_parser("publish", help="put a recorded run's weights into the package")
    publish.add_argument("name", help="of its record, such as multires-scifar-cpu-seed0")
    publish.add_argument(
        "--checkpoint", metavar="FILE", help="its best.pt (default: runs/NAME/best.pt)"
    )
    publish.add_argument("--records", metavar="FOLDER", help="default: book/records")
    publish.set_defaults(run=_publish)

    data = commands.add_parser("data", help="fetch CIFAR-10 unless it is there")
    data.add_argument("--folder", help="where to (default: MRBOOK_DATA, or the user's cache)")
    data.set_defaults(run=_data)

    doctor = commands.add_parser("doctor", help="say what is here and what is missing")
    doctor.set_defaults(run=_doctor)

    options = parser.parse_args(arguments)
    return options.run(options)


def _bench(options: argparse.Namespace) -> int:
    import torch

    from mrbook.bench import SUITES
    from mrbook.bench.engine import run
    from mrbook.records import DirtyTreeError, check_place, environment, write_record

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    here = environment()
    print(f"{here['cpu']}, {here['threads']} threads, torch {here['packages']['torch']}\n")
    try:
        if options.record:
            check_place(here=here)
        for suite in options.suites or SUITES:
            result = run(suite, repeats=options.repeats, device=options.device)
            if options.record:
                command = (
                    f"python -m mrbook bench {suite} --repeats {options.repeats} "
                    f"--device {options.device} --threads {torch.get_num_threads()}"
                )
                name = f"{suite}-{options.device.replace(':', '-')}"
                payload = {"command": command, **result}
                path = write_record("bench", name, payload, overwrite=True, here=here)
                print(f"recorded in {path}\n")
    except (DirtyTreeError, ImportError, ValueError, OSError) as error:
        print(f"mrbook bench: {error}", file=sys.stderr)
        return 1
    return 0


def _compare(options: argparse.Namespace) -> int:
    import torch

    from mrbook.comparison import EXPERIMENTS, SPEED, record_rows, text_table
    from mrbook.records import DirtyTreeError

    names = options.experiments or [*EXPERIMENTS, SPEED]
    torch.set_num_threads(1)  # the networks are small, and a run is the same everywhere
    try:
        if options.record:

            def tell(line: str) -> None:
                print(line, flush=True)

            record_rows(names, options.records, again=options.again, show=tell)
        print("\n\n".join(text_table(name, options.records) for name in names))
    except (DirtyTreeError, ValueError, OSError) as error:
        print(f"mrbook compare: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mrbook compare: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


def _report(options: argparse.Namespace) -> int:
    from mrbook.report import write_report

    try:
        print(f"written to {write_report(options.records, options.out)}")
    except (ValueError, OSError) as error:
        print(f"mrbook report: {error}", file=sys.stderr)
        return 1
    return 0


def _publish(options: argparse.Namespace) -> int:
    from mrbook.pretrained import publish

    try:
        path = publish(options.name, options.checkpoint, options.records)
    except (ValueError, OSError) as error:
        print(f"mrbook publish: {error}", file=sys.stderr)
        return 1
    print(f"{path.stat().st_size:,} bytes in {path}")
    return 0


def _data(options: argparse.Namespace) -> int:
    from mrbook.tasks import download_cifar10

    try:
        print(f"CIFAR-10 is in {download_cifar10(options.folder)}")
    except (OSError, ValueError) as error:
        print(f"mrbook data: {error}", file=sys.stderr)
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
