"""Tokens step by step: whichever way steps run, those of the whole model."""

import io
import itertools
import sys

import pytest
import torch
from conftest import SMALL

from fastlstm.rnnlm import stepping
from fastlstm.rnnlm.choosing import Choice
from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.generation import CHUNK, GraphStep, _step_loop, _Uniforms, generate
from fastlstm.rnnlm.levels import ByteVocabulary
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.stepping import Steps, StreamSteps, make_steps, read_prompt, repeat_state
from fastlstm.rnnlm.stopping import Ending, until_stop
from fastlstm.rnnlm.vocabulary import Vocabulary
from fastlstm.rnnlm.writing import write_text

KINDS = {
    "stream": {},
    "aten": {"backend": "aten"},
    "torch": {"implementation": "torch"},
    "gru": {"cell": "gru"},
    "rnn": {"cell": "rnn"},
}


# what a stream cannot do, or must do by its expectation
OPTIONS = {
    "tied": {"tied": True, "embedding": 12},
    "tied, one layer": {"tied": True, "embedding": 12, "layers": 1},
    "resets": {"reset_at": "\\n"},
    "zoneout": {"zoneout": 0.3, "weight_drop": 0.4, "recurrent_dropout": 0.2},
    "adaptive": {"softmax": "adaptive"},
}


def make(**options):
    config = Config(**{"hidden": 16, "layers": 2, **options})
    return make_model(30, config, torch.device("cpu"))


@pytest.mark.parametrize("kind", KINDS)
def test_steps_give_the_logits_of_a_whole_reading(kind):
    model = make(**KINDS[kind])
    layer, texts = model.rnn, torch.randint(30, (12, 3))
    with torch.no_grad():
        expected, _ = model(texts, model.initial_state(3))
    steps = make_steps(model, model.initial_state(3))
    assert type(steps) is (StreamSteps if kind == "stream" else Steps)
    for tokens, logits in zip(texts, expected, strict=True):
        torch.testing.assert_close(steps.step(tokens), logits, rtol=1e-4, atol=1e-5)
    assert model.rnn is layer


@pytest.mark.parametrize("options", OPTIONS)
def test_steps_of_every_option(options):
    model, texts = make(**OPTIONS[options]).eval(), torch.randint(30, (12, 3))
    texts[5, 1] = texts[7, 2] = 3
    if model.config.reset_at is not None:
        model.reset_token.fill_(3)
    with torch.no_grad():
        expected, _ = model(texts, model.initial_state(3))
    steps = make_steps(model, model.initial_state(3))
    for tokens, logits in zip(texts, expected, strict=True):
        torch.testing.assert_close(steps.step(tokens), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_selected_sequences_go_on_with_their_own_state(kind):
    model = make(**KINDS[kind])
    texts, rows, after = torch.randint(30, (5, 3)), torch.tensor([2, 2, 0]), torch.tensor([7, 8, 9])
    steps = make_steps(model, model.initial_state(3))
    for tokens in texts:
        steps.step(tokens)
    steps.select(rows)
    got = steps.step(after)
    whole = torch.cat([texts[:, rows], after[None]])
    with torch.no_grad():
        expected = model(whole, model.initial_state(3))[0][-1]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_long_prompts_are_read_in_parts(monkeypatch):
    model, prompt = make(), torch.randint(30, (23,)).tolist()
    expected, state = read_prompt(model, prompt)
    monkeypatch.setattr(stepping, "READ", 5)
    got, again = read_prompt(model, prompt)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(again, state, rtol=1e-4, atol=1e-5)


def test_each_of_many_samples_is_the_one_of_its_seed():
    model, choice = make(), Choice(0.9, top_k=20)
    together = list(itertools.islice(generate(model, [0, 1], choice, [5, 6, 7]), 80))
    for index, seed in enumerate([5, 6, 7]):
        alone = list(itertools.islice(generate(model, [0, 1], choice, [seed]), 80))
        assert [row[index] for row in together] == [row[0] for row in alone]


def test_the_graphs_step_is_the_loops():
    """What a GPU replays as a graph, run here as it is: three chunks, the last one short."""
    model, choice = make(), Choice(0.8, top_p=0.95)
    _logits, state = read_prompt(model, [0, 4])
    state, tokens = repeat_state(state, 2), torch.tensor([3, 9])
    loop = _step_loop(model, state, tokens, choice, _Uniforms([1, 2]))
    expected = list(itertools.islice(loop, 2 * CHUNK + 5))
    step, uniforms = GraphStep(model, state, tokens, choice), _Uniforms([1, 2])
    chunks = [uniforms.draw(CHUNK), uniforms.draw(CHUNK), uniforms.draw(CHUNK)[:5]]
    assert [row for chunk in chunks for row in step.run(chunk)] == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_graph_is_the_step():
    model = make_model(30, Config(hidden=16, layers=2, device="cuda"), torch.device("cuda"))
    _, state = read_prompt(model, [0, 4])
    tokens, uniforms = torch.tensor([3], device="cuda"), _Uniforms([1]).draw(CHUNK)
    plain, graph = (GraphStep(model, state, tokens, Choice()) for _ in range(2))
    graph.capture()
    assert graph.run(uniforms) == plain.run(uniforms)


def test_logits_that_are_not_finite_end_a_sample():
    model = make()
    tokens = generate(model, [0], Choice(), [1])
    next(tokens)
    with torch.no_grad():
        model.decoder.bias[3] = float("nan")
    with pytest.raises(RuntimeError, match="not finite"):
        next(tokens)


@pytest.mark.parametrize("stops", [["END"], ["EN", "END"], ["D\n", "END"], ["EEND", "ND"]])
@pytest.mark.parametrize("text", ["abENDcd", "ENENDx", "no stop here EN", "END", "EEEND", ""])
def test_a_text_ends_before_its_first_stop(stops, text):
    ends = [text.find(stop) for stop in stops if stop in text]
    for size in (1, 2, 5):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        if size == 1:  # with longer pieces a longer stop may be seen first
            expected = text[: _first_end(text, stops)] if ends else text
            assert "".join(until_stop(pieces, stops)) == expected
        assert not any(stop in "".join(until_stop(pieces, stops)) for stop in stops)


def _first_end(text, stops):
    """Where the stop begins that is complete first."""
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    end = min(end for end, _ in ends)
    return min(start for at, start in ends if at == end)


def test_characters_are_written_whole_and_at_once(monkeypatch):
    written = []
    monkeypatch.setattr(sys.stdout, "write", written.append)
    tokens = iter("在 a".encode() + b"\xe6\x88")  # the last character is cut off
    write_text(ByteVocabulary(), list("我".encode())[:2], iter([*"我".encode()[2:], *tokens]))
    monkeypatch.undo()
    assert written == ["我", "在", " ", "a", "\ufffd", "\n"]


def test_nothing_is_held_back_longer_than_it_must():
    shown = []
    for piece in until_stop(iter("aENbEND"), ["END"]):
        shown.append(piece)
    assert shown == ["a", "", "", "ENb", "", "", ""]


def test_ending_is_seen_in_the_text_of_tokens():
    class Letters(Vocabulary):
        __len__ = encode = to_json = None

        def decode(self, tokens):
            return (chr(token) for token in tokens)

    is_end = Ending(Letters(), ["\n\n"])
    assert not is_end([10])
    assert is_end([65, 10, 10])
    assert not is_end([10, 65, 10])


def test_prime_of_a_file_and_of_standard_input(command, trained, tmp_path, monkeypatch):
    (tmp_path / "prime.txt").write_text("the quick\n我在", encoding="utf-8")
    expected = command("sample", trained, "--prime", "the quick\n我在", "--length", 20)[1]
    assert expected.startswith("the quick\n我在")
    assert command("sample", trained, "--prime-file", tmp_path / "prime.txt", "--length", 20) == (
        0, expected, "",
    )  # fmt: skip
    stdin = io.TextIOWrapper(io.BytesIO("the quick\n我在".encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert command("sample", trained, "--prime-file", "-", "--length", 20)[1] == expected


def test_unknown_characters_of_a_prime_are_named_and_read_as_unknown(command, trained):
    code, out, err = command("sample", trained, "--prime", "thé é Ω", "--length", 5)
    assert code == 0
    assert err == (
        "note: 3 tokens of the prompt are not in the run's vocabulary, read as <unk>: 'é', 'Ω'\n"
    )
    assert out.startswith("th\ufffd \ufffd \ufffd")


def test_unknown_words_of_a_chinese_prime_are_named(command, text, tmp_path):
    run = tmp_path / "run"
    options = ["--level", "zh-word", "--steps", 2, "--out", run]
    assert command("train", text, *SMALL, *options)[0] == 0
    code, out, err = command("sample", run, "--prime", "我在 罗马 长大", "--length", 2)
    assert code == 0
    assert "note: 1 tokens" in err
    assert err.endswith("read as <unk>: '罗马'\n")
    assert out.startswith("我在 <unk> 长大")


def test_many_samples_and_a_stop(command, trained):
    arguments = ("--prime", "fox", "--length", 200, "--stop", "o")
    code, out, _ = command("sample", trained, *arguments, "--samples", 3, "--seed", 5)
    assert code == 0
    parts = out.split("--- sample ")[1:]
    assert [part.split("\n")[0] for part in parts] == [
        "1 of 3, seed 5", "2 of 3, seed 6", "3 of 3, seed 7",
    ]  # fmt: skip
    for index, part in enumerate(parts):
        text = part.partition("\n")[2]
        assert "o" not in text.removeprefix("fox")
        alone = command("sample", trained, *arguments, "--seed", 5 + index)[1]
        assert text == alone


def test_a_stop_may_be_a_line_end(command, trained):
    out = command("sample", trained, "--prime", "fox\n", "--length", 400, "--stop", "\\n")[1]
    assert out.startswith("fox\n")
    assert out.count("\n") == 2


def test_beams_are_shown_best_first(command, trained):
    code, out, _ = command("sample", trained, "--beam", 4, "--samples", 3, "--length", 6)
    assert code == 0
    scores = [float(line.split()[-2]) for line in out.split("\n") if line.startswith("--- ")]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)


def test_unknown_is_not_written_when_not_wanted(command, tmp_path):
    (tmp_path / "rare.txt").write_text("".join(f"a b word{n}\n" for n in range(400)))
    options = ["--hidden", 8, "--batch", 4, "--window", 10, "--level", "word", "--steps", 30]
    options += ["--vocab-size", 5]
    assert command("train", tmp_path / "rare.txt", *options, "--out", tmp_path / "r")[0] == 0
    assert "<unk>" in command("sample", tmp_path / "r")[1]
    assert "<unk>" not in command("sample", tmp_path / "r", "--no-unknown")[1]
