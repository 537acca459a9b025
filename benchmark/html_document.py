"""Self-contained HTML pages: style, sections, embedded images."""

import base64
from collections.abc import Iterable
from html import escape

import cv2
import numpy as np
from torch import Tensor

from sgm_vfi.benchmark.sample_figures import SampleFigure
from sgm_vfi.media.images import as_samples
from sgm_vfi.media.visualise import Picture, add_colour_wheel, fit_to_box

JPEG_QUALITY = 82
STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #5b6470; --line: #d9dde2;
  --paper: #ffffff; --panel: #f5f6f8; --best: #0b6b3a; --dot: 0.7; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #a2abb5; --line: #363c44;
  --paper: #15181c; --panel: #1e2227; --best: #6fd39b; --dot: 0.9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem clamp(0.8rem, 3vw, 2.4rem) 4rem; max-width: 1280px;
  font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
h1 { font-size: 1.6rem; margin: 0.2rem 0 0.6rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 0.6rem; }
h3 { font-size: 1.05rem; margin: 2rem 0 0.3rem; }
h4 { font-size: 0.95rem; margin: 0.8rem 0 0.3rem; } h4:empty { display: none; }
p, li { max-width: 80ch; } .soft, figcaption { color: var(--soft); font-size: 0.88rem; }
code { font-size: 0.86rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; } svg { width: 100%; min-width: 480px; max-width: 860px; }
.plots { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 500px), 1fr)); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.32rem 0.8rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th { font-weight: 600; color: var(--soft); } th:first-child, td:first-child { text-align: left; }
td.best { color: var(--best); font-weight: 600; }
.grid line { stroke: var(--line); } .grid text { fill: var(--soft); font-size: 12px; }
.mid { text-anchor: middle; } .end { text-anchor: end; }
circle { fill-opacity: var(--dot); stroke: none; } circle:hover { fill-opacity: 1; r: 6px; }
.crowd circle { fill-opacity: calc(var(--dot) * 0.4); } .crowd circle:hover { fill-opacity: 1; }
.trend, .halo { fill: none; stroke-width: 2.5; } .halo { stroke: var(--paper); stroke-width: 6; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; margin: 0.4rem 0; }
.legend i { display: inline-block; width: 0.8em; height: 0.8em; border-radius: 50%;
  margin-right: 0.4em; }
.pictures { display: grid; gap: 0.8rem;
  grid-template-columns: repeat(auto-fill, minmax(min(45%, 170px), 1fr)); }
figure { margin: 0; } img { width: 100%; height: auto; display: block; border-radius: 4px;
  background: var(--panel); }
@media (max-width: 600px) { th, td { padding: 0.3rem 0.45rem; } .grid text { font-size: 14px; } }
details { margin: 0.8rem 0; } summary { cursor: pointer; color: var(--soft); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--panel); padding: 0.8rem;
  border-radius: 6px; font-size: 0.8rem; }
"""


def html_document(title: str, parts: Iterable[str]) -> str:
    """Format a page that loads nothing from elsewhere; empty parts are left out."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in (f"<h1>{escape(title)}</h1>", *parts) if part)
        + "\n</body></html>\n"
    )


def html_details(summary: str, content: str) -> str:
    """Format a section that is folded until it is clicked."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def html_figure(figure: SampleFigure, max_size: tuple[int, int]) -> str:
    """Format the images of one sample with their captions."""
    parts = [f"<section><h3>{escape(figure.heading)}</h3>"]
    if figure.note:
        parts.append(f'<p class="soft">{escape(figure.note)}</p>')
    for name, pictures in figure.rows.items():
        images = "".join(html_image(picture, max_size) for picture in pictures)
        parts.append(f'<h4>{escape(name)}</h4><div class="pictures">{images}</div>')
    return "".join([*parts, "</section>"])


def html_image(picture: Picture, max_size: tuple[int, int]) -> str:
    """Format an image above its caption."""
    caption = escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="{encode_data_url(picture, max_size)}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def encode_data_url(picture: Picture, max_size: tuple[int, int]) -> str:
    """Encode an image as JPEG in a data URL, reduced to at most (width, height)."""
    image = fit_to_box(picture.image.cpu(), *max_size, enlarge=False)
    image = image if picture.flow_range is None else add_colour_wheel(image, picture.flow_range)
    return f"data:image/jpeg;base64,{base64.b64encode(encode_jpeg(image)).decode()}"


def encode_jpeg(image: Tensor) -> bytes:
    """Encode an image in [0, 1]. Shapes: (3, H, W)."""
    samples = cv2.cvtColor(as_samples(image), cv2.COLOR_RGB2BGR)
    data: np.ndarray = cv2.imencode(".jpg", samples, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1]
    return data.tobytes()
