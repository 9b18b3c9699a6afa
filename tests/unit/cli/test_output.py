"""What the command prints: text from outside stays text, and arguments that contradict each other are named."""

import pytest
from headrace_cli.commands.answers import show_answer
from headrace_cli.main import app
from headrace_cli.output import complain, err, out, table
from headrace_client import unanswered
from typer.testing import CliRunner

HOSTILE = "see [/INST] and [/b] in notes[/x].md [bold]not bold[/bold]"


def test_brackets_in_a_table_cell_are_text():
    """A document's words are no markup: neither an error nor styled nor swallowed."""
    shown = table("text")
    shown.add_row(HOSTILE)
    with out.capture() as printed:
        out.print(shown, width=200)
    assert HOSTILE in printed.get()


def test_brackets_in_a_refusal_are_text():
    """Reasons and details come from services and documents."""
    with out.capture() as printed:
        show_answer(unanswered("r1", "q", reason="refused", detail=HOSTILE))
    assert HOSTILE in printed.get()


def test_brackets_in_an_error_are_text():
    """The sentence names what was given, whatever it looks like."""
    with err.capture() as printed:
        complain(HOSTILE, 1)
    assert HOSTILE in printed.get()


@pytest.mark.parametrize("command", ["ask", "search"])
def test_a_text_and_a_file_exclude_each_other_and_one_is_needed(command, tmp_path):
    """Exit code 2, before anything is published."""
    file = tmp_path / "questions.txt"
    file.write_text("one\n")
    data_dir = ["--data-dir", str(tmp_path)]
    assert CliRunner().invoke(app, [command, *data_dir]).exit_code == 2
    assert CliRunner().invoke(app, [command, "text", "--from", str(file), *data_dir]).exit_code == 2


def test_a_wrong_tenants_file_is_a_usage_error(tmp_path):
    """It is said in one sentence, and nothing is started."""
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants: {a: {budgets: 3}}")
    ran = CliRunner().invoke(app, ["up", "--tenants", str(file), "--data-dir", str(tmp_path / "data")])
    assert ran.exit_code == 2
    assert not (tmp_path / "data").exists()
