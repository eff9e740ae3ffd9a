"""The local page on which features are looked at and labelled."""

from pathlib import Path

import click

from deo.cli.options import PATH


@click.command()
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="FEATURES... [SCENE]")
@click.option(
    "--browser/--no-browser", default=True, show_default=True, help="Open the page at once."
)
def explore(paths: tuple[Path, ...], browser: bool) -> None:
    """Look at FEATURES in the browser, and label places.

    FEATURES are files that `deo extract` wrote: one, or several layers or dates of one place. SCENE
    is what they were extracted from, and adds true colour. A click shows what is similar to a
    place; with examples of two classes, a map of them appears and follows each further click. The
    map, the labels and the `deo classify` command that makes the map again can be exported.

    The page is served on 127.0.0.1 to whoever knows its address, and contacts no other one.
    """
    from deo.explorer.serve import part_inputs, run_page

    features, scene = part_inputs(paths)

    def say(url: str) -> None:
        click.echo(f"{url}\n    the page, for this machine alone; Ctrl-C ends it")

    run_page(features, scene, browse=browser, say=say)
