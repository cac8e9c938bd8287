"""Drawing and pages: figures, report.html, result.json, and the answer in a few lines of text."""
