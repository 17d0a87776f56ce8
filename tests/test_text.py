"""Text at the edges: names that act, letters that an encoding lacks, closed streams, foreign lines."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import made_up
import numpy as np
import pytest

from advisor.report import prediction_tables
from advisor.results import Prediction
from advisor.system import spreadsheet
from advisor.system.text import legible

FORMULAS = (
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "+1",
    "-2+3",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "＝1",
    "'=1",
    "''@x",
)
ORDINARY = ("photo.jpg", "it's", "'quoted'", "a=b", "", "'", "Öl", "x-1", "'x")
ACTING = "a\x1b[2J\u202egpj.\u200b\x07\x9b1m\u2066"  # clears the screen, turns the writing round, hides
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
LOCALE_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def advisor(
    *arguments: str | Path | bytes, shell: str = "", text: bool = True, **environment: str
) -> subprocess.CompletedProcess:
    """Run a command in a process of its own; `shell` may bend its streams, as in ">&-"."""
    command = [sys.executable, "-m", "advisor.cli", *arguments]
    if shell:
        command = ["bash", "-c", f'"$@" {shell}; exit ${{PIPESTATUS[0]}}', "bash", *command]
    return subprocess.run(command, capture_output=True, text=text, env={**BUFFERED, **environment})


def python(program: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env={**BUFFERED, **environment})


def predictions(paths: tuple[str, ...], names: tuple[str, ...]) -> list[Prediction]:
    classes = len(names)
    probabilities = np.linspace(1, 2, classes, dtype=np.float32) / np.linspace(1, 2, classes).sum()
    return [Prediction(path, names, probabilities, 0.25, False) for path in paths]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_none_in_a_cell(text):
    assert spreadsheet.safe_cell(text) == "'" + text


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_as_it_is_in_a_cell(text):
    assert spreadsheet.safe_cell(text) == text


def test_every_text_comes_back_from_its_cell():
    generator = np.random.default_rng(0)
    drawn = ["".join(generator.choice(list("'=+-@\t\r\n a1"), 5)) for _ in range(3000)]
    cells = {text: spreadsheet.safe_cell(text) for text in (*FORMULAS, *ORDINARY, *drawn)}
    assert all(spreadsheet.original(cell) == text for text, cell in cells.items())
    assert len(set(cells.values())) == len(cells)


def test_a_table_of_predictions_has_no_formulas_and_numbers_stay_numbers():
    names = ("-2+3", "cat", "=1")
    paths = (*FORMULAS, "semi;=cmd.jpg", "return\r=cmd.jpg", 'quote".jpg')
    written = io.StringIO()
    prediction_tables.write_csv(written, predictions(paths, names))
    for separator in ",;":  # a spreadsheet takes the one of its country
        for row in csv.reader(io.StringIO(written.getvalue(), newline=""), delimiter=separator):
            assert not any(cell.startswith(tuple("=+-@\t\r\n＝")) for cell in row)
    rows = list(csv.DictReader(io.StringIO(written.getvalue(), newline="")))
    assert tuple(spreadsheet.original(row["path"]) for row in rows) == paths
    assert {row["label_1"] for row in rows} == {"'=1"}
    assert float(rows[0]["probability_1"]) == pytest.approx(4 / 9, abs=1e-6)
    assert ",0.25,0\n" in written.getvalue()  # numbers are not quoted


def test_what_acts_on_a_terminal_is_shown_as_escapes():
    shown = legible(ACTING)
    assert shown == r"a\x1b[2J\u202egpj.\u200b\x07\x9b1m\u2066"
    assert legible("grün, می\u200cخواهم, 日本") == "grün, می\u200cخواهم, 日本"


def test_bytes_that_the_locale_cannot_read_are_utf_8_if_they_can_be():
    assert legible("gr\udcc3\udcbcn \udcff") == r"grün \udcff"


def test_a_mark_may_stand_in_the_place_of_escapes():
    assert legible(ACTING, "?") == "a?[2J?gpj.???1m?"


def test_a_class_has_the_same_name_in_every_locale(strange_images):
    program = (
        "import sys; from advisor.data import sources; print(ascii(sources.load(sys.argv[1]).class_names))"
    )
    shown = b"('=\\xc4rger', 'blue', 'gr\\xfcn')\n"
    assert [python(program, strange_images, **locale).stdout for locale in ({}, LOCALE_C)] == [shown] * 2


def test_a_hostile_name_in_an_error_stays_on_its_line(refused):
    line = refused("recommend", ACTING + "\nadvisor: all is well")
    assert r"\x1b[2J\u202e" in line
    assert not set(line[:-1]) & set("\x1b\u202e\u200b\x9b\u2066")


def test_predictions_show_no_name_that_acts(monkeypatch):
    shown = "\n".join(
        prediction_tables.lines(predictions((ACTING,), ("x", ACTING)), ("x", ACTING), (ACTING,))
    )
    written = io.StringIO()
    monkeypatch.setattr(written, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", written)
    prediction_tables.write_csv_to_output(predictions((ACTING,), ("x", ACTING)))
    for text in (shown, written.getvalue()):
        assert r"\u202e" in text
        assert not set(text) & set("\x1b\u202e\u200b\x9b\u2066")


def test_paths_are_whole_in_a_pipe_and_fit_a_terminal(monkeypatch):
    paths = ("d" * 200 + "/end.jpg", "b.jpg")

    def rows() -> list[str]:
        names = ("one", "two", "three")
        return list(prediction_tables.lines(predictions(paths, names), names, paths))[1:]

    assert [row.split()[0] for row in rows()] == list(paths)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    assert [len(row) <= 80 for row in rows()] == [True, True]
    assert rows()[0].split()[0].endswith("/end.jpg")
    assert rows()[0].startswith("…")


@pytest.mark.parametrize("columns", [80, 60, 40])
def test_predictions_fit_a_terminal(monkeypatch, columns):
    names = ("bees with a long name", "ants", "wasps and other insects")
    paths = ("d" * 200 + "/end.jpg", "b.jpg")
    items = [replace(item, unlike=True) for item in predictions(paths, names)]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = list(prediction_tables.lines(items, names, paths))
    assert all(len(line) <= columns for line in lines)
    assert sum("? unlike the training images" in line for line in lines) == 2
    text = "\n".join(lines)
    assert "end.jpg" in text
    for name, share in (("wasps", "44.4%"), ("ants", "33.3%"), ("bees", "22.2%")):
        assert text.count(name) == text.count(share) == 2


@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",)], ids=["table", "json", "csv"])
def test_nothing_is_printed_before_the_error_of_a_missing_image(finished_run, refused, form):
    assert "missing.jpg" in refused("predict", str(finished_run), "missing.jpg", *form)


def test_no_table_is_written_where_no_image_was_read(finished_run, refused, tmp_path):
    (tmp_path / "out.csv").write_text("of yesterday")
    refused("predict", str(finished_run), "missing.jpg", "--csv", str(tmp_path / "out.csv"))
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("out.csv", "of yesterday")]


@pytest.mark.parametrize("target", ["folder.csv", "none/out.csv"])
def test_a_table_that_cannot_be_written_is_told_before_anything_is_classified(refused, tmp_path, target):
    (tmp_path / "folder.csv").mkdir()
    assert "choose another --csv" in refused("predict", "run", "x.jpg", "--csv", str(tmp_path / target))


@pytest.mark.parametrize(
    ("arguments", "shell", "code", "line"),
    [
        (("backbones",), "| true", 1, ""),
        (("--help",), "| true", 1, ""),
        (("backbones",), ">&-", 0, ""),
        (("backbones",), "<&- >&- 2>&-", 0, ""),
        (("backbones",), "> /dev/full", 1, "advisor: No space left on device"),
        (("recommend", "nothing"), "2> /dev/full", 2, ""),
        (("recommend", "nothing"), "2>&-", 2, ""),
        ((), "2> /dev/full", 2, ""),
        (("predict", "no-run"), "<&-", 2, "advisor: no-run does not exist"),
    ],
    ids=str,
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_streams_that_are_closed_full_or_left(arguments, shell, code, line):
    done = advisor(*arguments, shell=shell)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == bool(line)


def test_a_file_does_not_get_the_descriptor_of_a_closed_stream(tmp_path):
    program = """
import sys
from advisor.system import screen
with screen.ours():
    with open(sys.argv[1], "w") as file:
        assert file.fileno() > 2, file.fileno()
        print("no harm", file=sys.stderr)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "file")]
    done = subprocess.run(["bash", "-c", '"$@" <&- >&- 2>&-', "bash", *command])
    assert done.returncode == 0
    assert (tmp_path / "file").read_text() == ""


def test_nothing_but_ours_reaches_the_screen():
    program = """
import logging, os, subprocess, sys, warnings
from advisor.system import screen
with screen.ours():
    os.write(2, b"native code\\n")
    subprocess.run([sys.executable, "-c", "import sys; print('worker', file=sys.stderr)"])
    warnings.warn("library")
    logging.getLogger("absl").error("library")
    print("ours", file=sys.stderr)
os.write(2, b"afterwards\\n")
print("also", file=sys.stderr)
"""
    done = python(program)
    assert (done.stdout, done.stderr) == (b"", b"ours\nafterwards\nalso\n")


def test_tensorflow_is_imported_without_a_line_of_its_own():
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    program = "import advisor, keras, sys; assert 'tensorflow' in sys.modules; print('done')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("done\n", "")


PRINT_ADVICE = """
import json, sys
from advisor.advice.recommendation import Recommendation
from advisor.report import terminal
from advisor.system import screen
told = json.load(open(sys.argv[1], encoding="utf-8"))
with screen.ours():
    terminal.print_recommendation(Recommendation.from_json(told))
    screen.say("日本, ± 1")
"""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_the_advice_is_printed_in_every_encoding(tmp_path, encoding):
    told = json.loads(json.dumps(made_up.recommendation().to_json()))
    told["dataset"]["source"] = "grün 日本 \udcff"
    told["rationale"][0]["measured"] = "(± 0.7%)"
    (tmp_path / "told.json").write_text(json.dumps(told), encoding="utf-8")
    done = python(PRINT_ADVICE, tmp_path / "told.json", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding)
    assert max(map(len, text.splitlines())) <= 80
    japanese = "日本" if encoding == "utf-8" else r"\u65e5\u672c"
    about = "~" if encoding == "ascii" else "±"
    assert ("───" in text) == (encoding == "utf-8")
    assert japanese in text
    assert (r"gr\xfcn" if encoding == "ascii" else "grün") in text
    assert f"({about} 0.7%)" in text
    assert text.endswith(f"\n{japanese}, {about} 1\n")


def test_an_error_is_told_in_every_encoding():
    name = "grün\udcff"
    for environment, shown in (({"PYTHONIOENCODING": "utf-8"}, "grün"), (LOCALE_C, r"gr\xfcn")):
        done = advisor("recommend", os.fsencode(name), text=False, **environment)
        line = rf"advisor: {shown}\udcff does not exist; give a folder with one folder of images per class"
        assert (done.returncode, done.stderr) == (2, f"{line}\n".encode())


@pytest.fixture
def strange_images(finished_run, tmp_path) -> Path:
    """A copy of the images, some of whose names no encoding but UTF-8 can say, and which act."""
    images = shutil.copytree(finished_run.parent / "images", tmp_path / "images")
    (images / "green").rename(images / "grün")
    (images / "red").rename(images / "=Ärger")
    (images / "grün" / "0.png").rename(images / "grün" / "@\u202eü.png")
    (images / "grün" / "1.png").write_bytes(b"II*\0 is no TIFF")
    return images


OURS = ("advisor: ", "Looking", "Measuring", "Probing", "Embedding", "Training", "Testing", "Classifying")


@pytest.mark.slow
@pytest.mark.parametrize("environment", [LOCALE_C, {"PYTHONIOENCODING": "cp1252"}], ids=str)
def test_every_command_where_the_encoding_lacks_letters(strange_images, tmp_path, environment):
    def ask(*arguments: str | Path, stdin: bytes = b"") -> bytes:
        command = [sys.executable, "-m", "advisor.cli", *map(str, arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, env={**os.environ, **environment})
        assert done.returncode == 0, done.stderr
        assert all(line.startswith(OURS) for line in done.stderr.decode("latin-1").splitlines())
        return done.stdout

    run = tmp_path / "Lauf für grün"
    recipe = ("--recipe", "feature_extraction", "--image-size", "32")
    folder = json.loads(ask("run", strange_images, *recipe, "--output", run, "--json"))["folder"]
    assert os.fsencode(folder) == os.fsencode(run)
    names = json.loads((run / "labels.json").read_text(encoding="utf-8"))
    assert sorted(names) == ["=Ärger", "blue", "grün"]
    path = os.fsencode(strange_images / "grün" / "@\u202eü.png")
    table = ask("predict", run, "--csv", stdin=path + b"\n")
    (row,) = csv.DictReader(io.StringIO(table.decode("utf-8"), newline=""))
    assert os.fsencode(row["path"]) == path
    assert row["label_1"] == "grün"
    shown = ask("predict", run, strange_images)
    assert rb"\u202e" in shown
    assert "\u202e".encode() not in shown
    assert (b"gr\\xfcn" if environment is LOCALE_C else "grün".encode("cp1252")) in shown
    assert b"Accuracy" in ask("evaluate", run, strange_images)
    for format in ("tflite", "saved_model"):
        ask("export", run, "--format", format)
    assert (run / "saved_model").is_dir()
