"""docs/adding-a-parser.md means what it says: its file and its line are a parser."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import headrace_ingest

PAGE = Path(__file__).parents[3] / "docs" / "adding-a-parser.md"
PROGRAM = """
from headrace_ingest.domain.formats import find_format
from headrace_ingest.domain.parsed import ParseLimits
from headrace_ingest.parsers import FORMATS, parse
print(parse(find_format(FORMATS, "gates.csv"), b"gate,state\\none,open\\n", ParseLimits()).text)
"""


def test_one_file_and_one_line_are_a_parser(tmp_path: Path) -> None:
    """In a copy of the service, with nothing else changed."""
    file, line = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    service = tmp_path / "headrace_ingest"
    shutil.copytree(Path(headrace_ingest.__file__).parent, service, ignore=shutil.ignore_patterns("__pycache__"))
    (service / "parsers" / "csv.py").write_text(file, encoding="utf-8")
    registry = service / "parsers" / "__init__.py"
    registry.write_text(registry.read_text().replace("FORMATS = (\n", f"FORMATS = (\n{line}"))
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout == "gate | state\none | open\n", run.stderr
