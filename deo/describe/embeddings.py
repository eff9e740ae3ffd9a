"""Embeddings in a file: the same facts for STAC, for Zarr and for GeoParquet.

Sources: the Embedding extension of STAC 0.0.1 (prefix `emb:`) and the Geoembeddings convention of
Zarr, version 1 (prefix `geoemb:`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

EMBEDDINGS = "https://stac-extensions.github.io/embeddings/v0.0.1/schema.json"
_CONVENTION = {
    "schema_url": "https://raw.githubusercontent.com/geo-embeddings/embeddings-zarr-convention"
    "/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/geo-embeddings/embeddings-zarr-convention/blob/v1/README.md",
    "uuid": "61c12cc5-0e28-4056-999a-480cf3fb7e4c",
    "name": "geoemb:",
    "description": "Geoembeddings convention for geospatial embedding arrays with model provenance",
}
_METHOD = "linear, one scale per dimension: value = stored x scale"


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """What a file of embeddings holds.

    Args:
        dimensions: of each.
        dtype: float32, float16 or int8; int8 is quantised.
        model: URI of the model.
        sources: URIs of what they were computed from.
        chip: side in pixels of the chips that have one each; None: every cell has one.
        nodata: what stands for none, of int8.
    """

    dimensions: int
    dtype: str
    model: str
    sources: tuple[str, ...]
    chip: int | None = None
    nodata: int | None = None

    @property
    def kind(self) -> str:
        """In the specifications' words."""
        return "pixel" if self.chip is None else "chip"

    def item_properties(self) -> dict[str, Any]:
        """For an item; the extension leaves the kind and the dimensions to collections."""
        quantisation = self._quantisation()
        return {
            "data_type": self.dtype,
            "deo:type": self.kind,
            "deo:dimensions": self.dimensions,
            **({"emb:quantization": quantisation} if quantisation else {}),
        }

    def collection_fields(self) -> dict[str, Any]:
        """For a collection of items that all hold such embeddings."""
        layout = self._layout()
        return {
            "emb:type": self.kind,
            "emb:dimensions": self.dimensions,
            "data_type": self.dtype,
            **({"emb:chip_layout": layout} if layout else {}),
        }

    def zarr_attributes(self) -> dict[str, Any]:
        """For a group with an array `embeddings`, and where it is quantised an array `scale`."""
        quantisation = self._quantisation()
        if quantisation:
            quantisation["scale"] = {"type": "array", "array_name": "scale", "nodata": self.nodata}
        layout = self._layout()
        return {
            "geoemb:type": self.kind,
            "geoemb:dimensions": self.dimensions,
            "geoemb:model": self.model,
            "geoemb:source_data": list(self.sources),
            "geoemb:data_type": self.dtype,
            **({"geoemb:quantization": quantisation} if quantisation else {}),
            **({"geoemb:chip_layout": layout} if layout else {}),
        }

    def parquet_metadata(self, scales: Iterable[float] | None) -> dict[str, Any]:
        """For the metadata of a Parquet file, in the words of the extension without its prefix.

        Args:
            scales: one per dimension, of int8.
        """
        fields = {
            key.removeprefix("emb:"): value for key, value in self.collection_fields().items()
        }
        quantisation = self._quantisation()
        if quantisation and scales is not None:
            quantisation["scale"] = [float(scale) for scale in scales]
            fields["quantization"] = quantisation
        return {**fields, "model": self.model, "source_data": list(self.sources)}

    def _layout(self) -> dict[str, Any] | None:
        if self.chip is None:
            return None
        side = [self.chip, self.chip]
        return {"layout_type": "regular_grid", "chip_size": side, "stride": side}

    def _quantisation(self) -> dict[str, Any] | None:
        if self.dtype != "int8":
            return None
        return {"method": _METHOD, "original_dtype": "float32", "quantized_dtype": "int8"}


def convention() -> dict[str, str]:
    """What names the convention in a group's `zarr_conventions`."""
    return dict(_CONVENTION)
