"""A report as a picture of a terminal: one SVG file that needs nothing from elsewhere."""

from collections.abc import Sequence

from runlocal.render.layout import Line, rich_text
from runlocal.render.style import Style, clean

# rich's own frame names web fonts, which a page that shows the file as an image does not load and a reader did not ask for.
_FRAME = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
.{unique_id}-matrix {{ font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>"""


def svg_text(lines: Sequence[Line], style: Style, title: str) -> str:
    """The lines as an SVG, always with colours and glyphs; `title` stands in the window's bar."""
    from io import StringIO

    from rich.console import Console

    shown = style._replace(unicode=True, colour=True)
    console = Console(
        file=StringIO(),
        record=True,
        width=style.width,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
        markup=False,
        highlight=False,
        emoji=False,
    )
    console.print(rich_text(lines, shown), soft_wrap=True)
    return console.export_svg(title=clean(title, shown), code_format=_FRAME)
