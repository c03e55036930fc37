"""`fastlstm inspect`: the views that were asked for, as one report."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import torch

from fastlstm.rnnlm.checkpoint import load_weights
from fastlstm.rnnlm.dataset import Dataset
from fastlstm.rnnlm.inspect import (
    context,
    curves,
    distance,
    gates,
    gradients,
    saturation,
    spectrum,
    units,
)
from fastlstm.rnnlm.inspect.page import Section, save_page
from fastlstm.rnnlm.inspect.style import STYLE
from fastlstm.rnnlm.inspect.subject import Subject, read_given
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.runs import Run, open_run

PrepareTorch = Callable[[str, int | None], torch.device]
View = Callable[[Subject], Section]
VIEWS: dict[str, View] = {
    "curves": curves.view,
    "context": context.view,
    "gates": gates.view,
    "units": units.view,
    "gradients": gradients.view,
    "spectrum": spectrum.view,
    "saturation": saturation.view,
    "distance": distance.view,
}


def inspect_run(
    args: argparse.Namespace, prepare: PrepareTorch, dataset_of: Callable[[Run], Dataset]
) -> int:
    """Run the command; `prepare` is given a device's name and threads, `dataset_of` a run."""

    def open_subject(path: str, **shown: Any) -> Subject:
        run = open_run(Path(path))
        device = prepare(args.device or run.config.device, args.threads)
        model = make_model(len(run.vocabulary), run.config, device)
        step = load_weights(run, args.checkpoint, model)
        dataset, why_not = None, ""
        try:
            dataset = dataset_of(run)
        except ValueError as error:  # the text is gone or changed: most can be drawn without
            why_not = str(error)
        return Subject(run, model, step, dataset, why_not, **shown)

    given = read_given(args.text, args.file)
    beside = tuple(open_subject(path, given=given) for path in args.beside)
    shown = {"layer": args.layer, "unit": args.unit, "font": args.font}
    subject = open_subject(args.run_path, given=given, beside=beside, **shown)
    folder = subject.run.path / "inspect" if args.out is None else Path(args.out)
    draw_views(subject, args.views, folder)
    return 0


def draw_views(subject: Subject, names: list[str], folder: Path) -> None:
    """Write a report of the named views, or of all that suit the run, and say where it is.

    ValueError where a view that was named does not suit the run; of all, such a one is left out and
    the report says why.
    """
    sections = []
    with matplotlib.rc_context(STYLE):
        for name in names or VIEWS:
            try:
                sections.append(VIEWS[name](subject))
            except ValueError as error:
                if names:
                    raise ValueError(f"{name}: {error}") from error
                sections.append(left_out(name, str(error)))
        config, run = subject.config, subject.run
        facts = (
            f"{config.cell}, {config.layers} layers of {config.hidden}, {config.level} level, "
            f"trained on {config.text}; weights of step {subject.step}"
        )
        name = "-".join(dict.fromkeys(names)) or "report"
        path = save_page(folder, name, f"fastlstm inspect {run.path}", facts, sections)
    for section in sections:
        for note in section.notes:
            print(f"{section.name}: {note}")
        for file in section.figures:
            print(f"{folder / file}.png")
    print(path)


def left_out(name: str, reason: str) -> Section:
    """A section that says why there is none."""
    section = Section(name, name.capitalize())
    section.note(f"left out: {reason}")
    return section
