import re

from deo.describe.classes import classes_of


def test_classes_of__names_titles_colours_and_no_data() -> None:
    names = ("water", "bare soil / rock", "über")
    table = {0: (0, 16, 255, 255), 1: (1, 2, 3, 255), 2: (4, 5, 6, 255)}
    classes = classes_of(names, table, nodata=255)
    assert [each["value"] for each in classes] == [0, 1, 2, 255]
    assert [each["title"] for each in classes[:3]] == list(names)
    assert all(re.fullmatch(r"[0-9A-Za-z_-]+", each["name"]) for each in classes)
    assert classes[1]["name"] == "bare-soil-rock"
    assert classes[0]["color_hint"] == "0010FF"
    assert [each.get("nodata", False) for each in classes] == [False, False, False, True]
