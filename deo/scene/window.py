"""A rectangle of pixels."""

from dataclasses import dataclass

from deo.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Window:
    """A rectangle of pixels: rows from `row`, columns from `col` (both may not be negative)."""

    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.row < 0 or self.col < 0 or self.height < 1 or self.width < 1:
            raise ConfigError(f"{self} is not a window: it starts before 0 or is empty")

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices into an array of the raster's shape."""
        return (
            slice(self.row, self.row + self.height),
            slice(self.col, self.col + self.width),
        )

    def clip(self, *, height: int, width: int) -> "Window":
        """The part inside a raster of this size."""
        return Window(
            row=self.row,
            col=self.col,
            height=min(self.height, height - self.row),
            width=min(self.width, width - self.col),
        )
