"""The page of run files against the schema."""

from pathlib import Path

import pytest

from ipsdist.config.document import document

PAGE = Path(__file__).parents[2] / "docs" / "run-files.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the docs are not beside the tests")
def test_the_page_is_what_the_schema_says():
    """docs/run-files.md is the output of `ipsdist keys`."""
    assert PAGE.read_text().strip() == document().strip(), "write it again: ipsdist keys > docs/run-files.md"
