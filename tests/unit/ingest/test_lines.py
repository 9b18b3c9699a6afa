"""How printed lines become paragraphs again."""

import pytest
from headrace_ingest.parsers.lines import flow


@pytest.mark.parametrize(
    ("printed", "flowed"),
    [
        ("The water enters at\r\nthe intake.\r\nThen it falls.", "The water enters at the intake.\nThen it falls."),
        ("the tur\x02\r\nbine hall", "the turbine hall"),
        ("Contents\nIntake\nTailrace", "Contents\nIntake\nTailrace"),
        (f"{'Long words ' * 5}filled\nNew York follows", f"{'Long words ' * 5}filled New York follows"),
        ("One.\n\n\n\nTwo.", "One.\n\nTwo."),
        ("  spaces \t inside  \x00", "spaces inside"),
        ("", ""),
    ],
)
def test_lines_flow_into_paragraphs(printed: str, flowed: str) -> None:
    """Joined where a sentence goes on, kept apart where it ends or a list stands."""
    assert flow(printed) == flowed
