"""A real database for the agents."""

from tests.adapters.mongo_fixture import mongo_settings, mongo_store, mongo_uri

__all__ = ["mongo_settings", "mongo_store", "mongo_uri"]
