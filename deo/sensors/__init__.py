"""What a sensor's files mean: names of bands, numbers, offsets."""
