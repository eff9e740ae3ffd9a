"""Scenes in, features out, with bounded memory."""
