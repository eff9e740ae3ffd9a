"""The tour for people who have just installed the package."""

from pathlib import Path

import click

from deo.cli.options import MODEL, OVERWRITE, PATH, UNTRAINED, with_options


@click.command()
@click.argument("folder", default="deo-demo", type=PATH, metavar="[DIR]")
@click.option("--scene", type=PATH, help="A scene of yours, in place of a synthetic one.")
@with_options(MODEL, UNTRAINED, OVERWRITE)
def demo(folder: Path, scene: Path | None, model: str, untrained: bool, overwrite: bool) -> None:
    """See what deo does, without a network connection.

    Writes a scene, its features, and two pictures of them to DIR.
    """
    from deo.demo import take_tour
    from deo.maps.progress import tile_bar

    with tile_bar("extracting", quiet=None) as progress:
        tour = take_tour(
            folder,
            scene=scene,
            overwrite=overwrite,
            progress=progress,
            model=model,
            untrained=untrained,
        )
    at = f"{tour.place.longitude:.5f},{tour.place.latitude:.5f}"
    origin = "a synthetic Sentinel-2 scene of ten bands" if scene is None else "your scene"
    for path, what in (
        (tour.scene, origin),
        (tour.features, f"its features from {model}: a cloud-optimised GeoTIFF"),
        (tour.preview, "true colour beside the features' first three principal components"),
        (tour.similarity, f"cosine similarity of every place to {tour.what} ({at})"),
        (tour.similarity_preview, "the same as a picture"),
    ):
        click.echo(f"{path}\n    {what}")
    click.echo(
        "\nTry next:\n"
        f"  deo explore {tour.features} {tour.scene}   # click, label, get a map, in the browser\n"
        f"  deo info {tour.scene}\n"
        f"  deo similar {tour.features} --at {at} -o map.tif --preview map.png\n"
        "  deo extract YOUR_SCENE.tif -o features.tif --layer 0 --preview features.png\n"
        "  deo extract YOUR_SCENE.tif -o features.tif --model deo_swin_b   # the large model"
    )
