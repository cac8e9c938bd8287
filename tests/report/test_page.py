"""report.html: one whole, safe, accessible file; written with its figures, atomically."""

from __future__ import annotations

import base64
import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ipsdist.report.page import write_report
from tests.report.samples import sample_data, sample_plane, sample_result

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Outline(HTMLParser):
    """Collects tags, attributes and headings, and checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.headings, self.open, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note the tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag):
        """Close the innermost tag, which must be this one."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Gather the text."""
        self.text += data

    def all(self, name):
        """Return the attributes of every tag of this name."""
        return [attrs for tag, attrs in self.tags if tag == name]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Folder and parsed page of the full run in one dimension."""
    out = tmp_path_factory.mktemp("report")
    paths = write_report(sample_result(), sample_data(), out)
    text = (out / "report.html").read_text(encoding="utf-8")
    return out, paths, text, Outline(text)


def test_writes_figures_and_the_page_last(report):
    """All figures and the page are there under their names, and nothing else."""
    out, paths, _, _ = report
    assert paths[-1] == out / "report.html"
    assert sorted(p for p in out.rglob("*") if p.is_file()) == sorted(paths)


def test_page_is_well_formed_and_alone(report):
    """Tags close in order; nothing is loaded from elsewhere and nothing runs."""
    _, _, text, outline = report
    assert outline.open == []
    assert outline.all("html")[0]["lang"] == "en"
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in outline.tags}
    assert "http:" not in text
    assert "https:" not in text
    assert not any(name.startswith("on") for _, attrs in outline.tags for name in attrs)
    assert all(a["href"].startswith("#") for a in outline.all("a"))
    identities = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(set(identities)) == len(identities)
    assert all(a["href"][1:] in identities for a in outline.all("a"))


def test_headings_descend_by_one(report):
    """One h1, and no level is skipped on the way down."""
    levels = report[3].headings
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_images_are_inside_with_descriptions_and_tables(report):
    """Every figure is a data image equal to its file, with alt text, caption and a table."""
    out, _, _, outline = report
    images, figures = outline.all("img"), outline.all("figure")
    assert len(images) == len(figures) == 8
    for image, figure in zip(images, figures, strict=True):
        assert len(image["alt"]) > 60
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data) == (out / "figures" / f"{figure['id']}.png").read_bytes()
    assert len(outline.all("figcaption")) == 8
    assert len(outline.all("table")) >= 8 + 5
    assert len(outline.all("caption")) == len(outline.all("table"))
    assert all("scope" in th for th in outline.all("th"))


def test_page_says_the_answer(report):
    """Formula with error, verdict, runner-up, system, cost, versions and command are on the page."""
    text = report[3].text
    for words in (
        "φ(r) = (3.003 ± 0.012) r2",
        "σ² = 2 (given)",
        "Well determined.",
        "11.9 worse in score: very strong evidence",
        "Dropped: 1, r, r3, er, e−r, sin(r), cos(r).",
        "20\u202f000",
        "peak memory (MB)",
        "without the ½, last",
        "2.4.6",
        "ipsdist run config.toml --out again",
        'kernel = "3*r**2"',
    ):
        assert words in text


def relative_luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_contrast_meets_aa_in_light_and_dark(report):
    """Every text colour stands out from both backgrounds by 4.5 to 1, in both schemes."""
    schemes = re.findall(r":root \{([^}]*--paper[^}]*)\}", report[2])
    assert len(schemes) == 3
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for ink in ("ink", "soft", "accent", "well", "care", "not"):
            for paper in ("paper", "panel"):
                bright, dim = sorted((relative_luminance(colours[ink]), relative_luminance(colours[paper])))[::-1]
                assert (bright + 0.05) / (dim + 0.05) >= 4.5, (ink, paper)


HOSTILE = "</title><script>alert('x')</script>\"&"


def test_every_text_from_outside_is_escaped(tmp_path):
    """Markup in any text of the result or the data ends as text, wherever it stands."""
    result = sample_result(
        case=HOSTILE,
        form_reason=HOSTILE,
        terms=[
            {"name": HOSTILE, "kind": "kernel", "coefficient": 1.0, "standard_error": 0.1, "interval95": [0.8, 1.2]}
        ],
        dropped=[HOSTILE],
        confounded=[[HOSTILE, "r"]],
        alternatives=[{"terms": [HOSTILE], "coefficients": [1.0], "score_difference": 3.0}],
        versions={HOSTILE: HOSTILE, "ipsdist": HOSTILE},
        device=HOSTILE,
        warnings=[HOSTILE],
        system={HOSTILE: HOSTILE, "nested": {"a": [HOSTILE]}},
        errors={
            "kernel_relative_l2": 0.1,
            "coefficients": {HOSTILE: 0.1},
            "support_correct": False,
            "cramer_rao_ratio": {HOSTILE: 1.0},
        },
        cost={
            "wall_seconds": {HOSTILE: 1.0},
            "cpu_seconds": {},
            "peak_bytes": None,
            "particle_steps_per_second": None,
        },
    )
    names = (HOSTILE, *sample_data().names[1:])
    data = replace(
        sample_data(), names=names, config=HOSTILE, command=HOSTILE, length_unit=HOSTILE, truth={HOSTILE: 1.0}
    )
    write_report(result, data, tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    outline = Outline(text)
    assert outline.open == []
    assert "script" not in {tag for tag, _ in outline.tags}
    assert outline.text.count("<script>alert(") >= 15


def test_undecodable_names_do_not_stop_the_page(tmp_path):
    """A file name with bytes that are no UTF-8 becomes question marks."""
    write_report(sample_result(case="caf\udce9"), sample_plane(), tmp_path)
    assert "caf?" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_left_out_figures_are_named_and_old_files_removed(report, tmp_path):
    """A figure that the new report lacks disappears from the folder, and the page says why; other files stay."""
    write_report(sample_result(), sample_data(), tmp_path)
    (tmp_path / "figures" / "mine.png").write_bytes(b"kept")
    paths = write_report(sample_result(errors=None, terms=[], alternatives=[]), sample_plane(), tmp_path)
    assert sorted(tmp_path.glob("figures/*")) == sorted([*paths[:-1], tmp_path / "figures" / "mine.png"])
    text = Outline((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "Loss over the iterations: The selection best subset does not iterate" in text
    assert "The truth is unknown" in text
    assert "No term was kept." in text


def test_full_disk_leaves_the_old_report(monkeypatch, tmp_path):
    """When a file cannot be written the old page stays whole and no temporary file remains."""
    write_report(sample_result(), sample_plane(), tmp_path)
    before = (tmp_path / "report.html").read_bytes()

    def refuse(temporary, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_report(sample_result(case="other"), sample_plane(), tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
    assert not list(tmp_path.rglob("*.partial"))
