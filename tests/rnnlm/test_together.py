"""Options of a run, and what the other commands make of such a run."""

import pytest
from conftest import SMALL

RUNS = {
    "plain": "--level char",
    "tied and narrow": "--level char --tied --embedding 4",
    "one-hot": "--level char --embedding 0 --precision bf16",
    "adaptive": "--level word --softmax adaptive",
    "resets": "--level byte --reset-at \\n",
    "regularised": "--level byte --zoneout 0.1 --recurrent-dropout 0.1 --weight-drop 0.2",
    "torch's layer": "--level char --implementation torch",
    "gru": "--level bpe --vocab-size 300 --cell gru",
}


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_a_run_is_resumed_evaluated_sampled_and_inspected(command, text, tmp_path, options):
    run = tmp_path / "run"
    code, _, err = command("train", text, *SMALL, *options.split(), "--steps", 4, "--out", run)
    assert (code, err) == (0, "")
    for rest in (
        ["resume", run, "--steps", 6],
        ["eval", run, "--baselines"],
        ["eval", run, "--scores", tmp_path / "scores.tsv"],
        ["sample", run, "--length", 5],
        ["sample", run, "--length", 5, "--beam", 2],
        ["inspect", run],
    ):
        code, out, err = command(*rest)
        assert (code, err) == (0, ""), rest
        assert out
    assert (run / "inspect" / "report.html").exists()
