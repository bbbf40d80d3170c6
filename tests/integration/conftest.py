"""A real database for the core side."""

from tests.adapters.mongo_fixture import mongo_settings, mongo_uri

__all__ = ["mongo_settings", "mongo_uri"]
