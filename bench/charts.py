"""A bench's growth as a picture for the docs, drawn as the charts of the pages are, in their light colours."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from projects.charts import Chart, growth_chart

ROOT = Path(__file__).parent.parent
OUT = ROOT / "bench" / "out"
WIDTH = 640


def draw_growth(name: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Write bench/out/<name>.svg, and .json with its Vega-Lite specification, and say so.

    lines: what took them → (rows, CPU seconds), rising; each has an exponent of its own.
    """
    named = {f"{what}, exponent {exponent(points):.2f}" if len(points) > 1 else what: points
             for what, points in lines.items()}
    words = "; ".join(f"{what}: {points[0][1]:.1f} CPU seconds for {points[0][0]:,} rows to {points[-1][1]:.1f} for "
                      f"{points[-1][0]:,}" for what, points in named.items())
    draw(name, growth_chart(named, title="CPU seconds", words=words))


def draw(name: str, chart: Chart, *, folder: Path = OUT) -> None:
    """Write <name>.svg into the folder, and .json with its Vega-Lite specification, and say so."""
    import vl_convert  # 33 MB that the processes that measure do without

    folder.mkdir(parents=True, exist_ok=True)
    spec = standing_alone(chart.spec) | {"description": chart.words}
    (folder / f"{name}.json").write_text(json.dumps(spec, indent=1) + "\n")
    (folder / f"{name}.svg").write_text(vl_convert.vegalite_to_svg(spec, vl_version="6.4"))
    print(f"{chart.words}. Drawn to {(folder / name).relative_to(ROOT)}.svg")


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of log cost over log n between the first point and the last."""
    (n_first, first), (n_last, last) = points[0], points[-1]
    return math.log(last / first) / math.log(n_last / n_first)


def standing_alone(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with a width and with the colours of the light theme in place of their names, on a ground of its own."""
    css = (ROOT / "static" / "goldpan.css").read_text()
    block = re.search(r"\[data-bs-theme=light\] {(.*?)}", css, re.DOTALL)
    assert block is not None
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block[1]))
    text = re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], json.dumps(spec))
    return json.loads(text) | {"width": WIDTH, "background": colours["sheet"]}
