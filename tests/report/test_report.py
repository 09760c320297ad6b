from __future__ import annotations

import dataclasses
import html
import html.parser
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from explainsvc.checks.rows import Row
from explainsvc.errors import InvalidInput, InvalidParameter
from explainsvc.report.charts import Frame, cascade_svg, method_svg
from explainsvc.report.html import plain_words
from explainsvc.report.report import Report

CHECK = "parameter_randomization"
ATTACK = '<script>alert("1")</script>&\'"'
VOID = {"meta", "img", "br", "wbr"}


def row(method: str, step: int, mean: float, similarity: str = "spearman_abs", unit: str = "conv") -> Row:
    """A row with an interval of ±0.1."""
    return Row(CHECK, method, "cascading", step, unit if step else "", similarity, mean, 0.2, mean - 0.1, mean + 0.1, 8)


@pytest.fixture
def report() -> Report:
    """Two methods and a control, three steps, pictures, and a hostile name wherever a user can put one."""
    falling = [row("gradient", step, 1.0 - 0.4 * step, name) for step in range(3) for name in ("spearman_abs", "spearman")]
    rows = [*falling, row("sobel", 0, 1.0), row("sobel", 1, 1.0), row("grad_cam", 1, math.nan), row("grad_cam", 2, 0.3)]
    header = {
        "model": {
            "name": ATTACK,
            "digest": "ab" * 32,
            "producer": ATTACK,
            "opsets": {"": 17, ATTACK: 1},
            "operators": {ATTACK: 2},
            "size_bytes": 1234567,
            "parameters": 300000,
            "inputs": [{"name": ATTACK, "dtype": "float32", "shape": [ATTACK, 1, 4, 4]}],
            "passes": [{"name": "fold", "applied": True, "error": 1e-7}],
        },
        "inputs": {ATTACK: {"digest": "cd" * 32, "shape": [8, 1, 4, 4], "dtype": "float32"}},
        "equality": {"max_error": 2.5e-7, "n": 8},
        "target": ATTACK,
        "methods": {"gradient": {"parameters": {ATTACK: ATTACK}, "seed": 7, "caveats": [ATTACK], "max_residual": None}},
        "checks": {CHECK: {"parameters": {"order": "cascading"}, "seed": 7, "rule": ATTACK}},
        "controls": ["sobel"],
        "versions": {"onnxruntime": "1.0"},
        "seed": 7,
    }
    verdicts = {("gradient", CHECK): "sensitive", ("grad_cam", CHECK): "inconclusive", ("sobel", CHECK): "insensitive"}
    maps = {"gradient": np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 1, 4, 4)}
    images = np.zeros((2, 1, 4, 4), np.float32)
    return Report(header, tuple(rows), verdicts, {("gradient", CHECK): ATTACK}, maps, images)


class Elements(html.parser.HTMLParser):
    """Collects the tags and attributes of a page, and checks that they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag, and every address it would load."""
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """It must close the innermost open element."""
        assert self.open.pop() == tag


def parse(page: str) -> Elements:
    """The elements of a whole page."""
    elements = Elements()
    elements.feed(page)
    assert elements.open == []
    return elements


def equal(left: Report, right: Report) -> None:
    """Every field, arrays and NaN included."""
    for name in ("header", "verdicts", "reasons"):
        assert getattr(left, name) == getattr(right, name)
    for ours, theirs in zip(left.rows, right.rows, strict=True):
        np.testing.assert_equal(dataclasses.asdict(ours), dataclasses.asdict(theirs))
    np.testing.assert_equal(left.maps, right.maps)
    np.testing.assert_equal(left.images, right.images)


def test_json_round_trip_is_exact(report: Report, tmp_path: Path) -> None:
    """What is written is strict JSON (no NaN) and reads back equal, NaN rows and maps included."""
    report.save(tmp_path / "report.json")

    def refuse(word: str) -> float:
        raise AssertionError(word)

    document = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
    equal(Report.from_json(document), report)


@pytest.mark.parametrize(
    "damage",
    [{"format": "other"}, {"rows": [{"check": "x"}]}, {"rows": 3}, {"verdicts": [{}]}, {"maps": {"m": {"dtype": "O"}}}],
)
def test_what_is_not_a_report_is_refused(report: Report, damage: dict[str, object]) -> None:
    """Another format, missing fields and unknown dtypes are typed errors, not tracebacks."""
    with pytest.raises(InvalidInput):
        Report.from_json({**report.to_json(), **damage})


def test_a_report_is_saved_by_suffix_only(report: Report, tmp_path: Path) -> None:
    """An unknown suffix is refused before anything is written."""
    with pytest.raises(InvalidParameter):
        report.save(tmp_path / "report.pdf")
    assert list(tmp_path.iterdir()) == []


def test_nothing_a_user_wrote_becomes_markup(report: Report) -> None:
    """A model, tensor, parameter or rule that is called <script> is shown as text, and the page still nests."""
    page = report.to_html()
    elements = parse(page)
    assert "script" not in elements.tags
    assert page.count("&lt;script&gt;") >= 9


def test_the_page_loads_nothing(report: Report) -> None:
    """Every picture is inline and the policy forbids the rest."""
    page = report.to_html()
    assert all(address.startswith("data:image/png;base64,") for address in parse(page).addresses)
    assert "default-src 'none'" in page


def test_the_page_says_what_a_reader_must_know(report: Report) -> None:
    """Digests, sizes, the largest deviation, seeds, verdicts and the way to compute it again are on the page."""
    page = report.to_html()
    for words in (
        "ab" * 32,
        "cd" * 32,
        "1,234,567",
        "2.5e-07",
        "inconclusive",
        "explainsvc replay",
        "Seed of the audit: 7",
    ):
        assert words in page


def test_a_report_without_pictures_or_rows_is_a_page() -> None:
    """An empty report is not an error."""
    parse(Report({}, (), {}).to_html())


def test_maps_of_rows_are_drawn_as_bars(report: Report) -> None:
    """Tabular maps come without images, and as one figure an input, with all methods in it."""
    table = dataclasses.replace(report, maps={"gradient": np.ones((2, 5)), "occlusion": np.ones((2, 5))}, images=None)
    assert len(parse(table.to_html()).addresses) == 2


def test_names_of_methods_are_escaped_at_figures(report: Report) -> None:
    """A method's name becomes the picture's description, never markup."""
    hostile = '"><script>alert(1)</script>'
    page = dataclasses.replace(report, maps={hostile: np.ones((1, 5))}, images=None).to_html()
    assert "<script>alert(1)" not in page
    assert html.escape(hostile, quote=True) in page


def test_series_of_the_report_show_the_input(report: Report) -> None:
    """Signals are drawn with their input, one figure an item, not as pictures."""
    signals = np.linspace(0, 1, 60, dtype=np.float32).reshape(2, 1, 30)
    page = dataclasses.replace(report, maps={"gradient": signals - 0.5}, images=signals).to_html()
    assert len(parse(page).addresses) == 2
    assert "No pictures" not in page


def test_maps_that_cannot_be_drawn_do_not_hide_the_report(report: Report) -> None:
    """A 5-d map is named as such; verdicts stay."""
    page = dataclasses.replace(report, maps={"gradient": np.ones((2, 3, 2, 4, 4))}).to_html()
    assert "No pictures" in page
    assert "Verdicts" in page


def test_plain_words_leave_controls_out(report: Report) -> None:
    """A control is not judged."""
    assert plain_words(report.verdicts, ["sobel"]) == "Sensitive: gradient. Inconclusive: grad_cam."


def test_a_chart_is_valid_svg_with_one_curve_per_method(report: Report) -> None:
    """It parses as XML; each method's similarity is one polyline, broken where it is undefined."""
    svg = ElementTree.fromstring(cascade_svg(report.rows, controls=["sobel"]))  # noqa: S314  # our own output
    curves = svg.findall("{http://www.w3.org/2000/svg}polyline")
    crosses = [text for text in svg.iter("{http://www.w3.org/2000/svg}text") if (text.text or "") == "×"]
    assert len(curves) == 3
    assert len(crosses) == 1


def test_a_curve_passes_through_its_values(report: Report) -> None:
    """Pixels are the rows' means on the frame's scale: equal steps down are equal steps in value."""
    svg = method_svg(report.rows, "gradient")
    points = re.search(r'polyline points="([^"]+)"', svg)
    assert points is not None
    heights = [float(pair.split(",")[1]) for pair in points.group(1).split()]
    assert math.isclose(heights[1] - heights[0], heights[2] - heights[1], abs_tol=0.11)
    assert heights[0] < heights[1]


def test_one_input_has_a_curve_without_a_band() -> None:
    """A mean without an interval is still drawn as a line."""
    rows = [dataclasses.replace(row("m", step, 0.5), low=math.nan, high=math.nan, n=1) for step in range(3)]
    svg = method_svg(rows, "m")
    assert svg.count("<polyline") == 1
    assert "<polygon" not in svg


def test_the_frame_maps_one_to_its_top_and_its_low_to_its_bottom() -> None:
    """The ends of the scale are the ends of the frame, and nothing is drawn outside."""
    frame = Frame(left=10, top=20, width=100, height=200, last=4, low=-0.5)
    assert (frame.y(1.0), frame.y(-0.5), frame.y(-9.0)) == (20, 220, 220)
    assert (frame.x(0), frame.x(4)) == (10, 110)


def test_a_hostile_unit_name_stays_text_in_a_chart() -> None:
    """Unit names come from the model's file."""
    rows = [row("m", 0, 1.0), row("m", 1, 0.5, unit=ATTACK)]
    svg = ElementTree.fromstring(cascade_svg(rows))  # noqa: S314  # our own output
    assert all("script" not in element.tag for element in svg.iter())
