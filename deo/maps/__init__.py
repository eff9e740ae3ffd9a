"""Features of a grid: tiles, blending, files, pictures."""
