"""A self-contained page of figures: no script, no font, no picture from anywhere else."""

from html import escape

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-weight: 600; margin-bottom: 0 } h2 { font-weight: 600; font-size: 1.1rem; margin-top: 2rem }
.quiet { color: #666 } table { border-collapse: collapse; width: 100% }
th, td { text-align: right; padding: .3rem .6rem .3rem 0; font-variant-numeric: tabular-nums }
tr { border-bottom: 1px solid #e4e1dc } tr.best td { font-weight: 600 }
svg text { font: 12px system-ui, sans-serif; fill: #222 } polyline { fill: none }
polyline:hover { stroke: #a11d1d; stroke-width: 4; opacity: 1 }
"""


def page(title: str, body: str) -> str:
    """HTML of a page; `title` is text, `body` is HTML."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(title)}</h1>
{body}
</body></html>
"""
