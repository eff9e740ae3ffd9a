"""Files that operating systems leave behind in folders and archives."""

_NAMES = frozenset(["__macosx", "thumbs.db", "desktop.ini", "@eadir"])


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name was left behind by a system, and is never data."""
    return name.startswith(".") or name.lower() in _NAMES
