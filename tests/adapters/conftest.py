"""Stores for the tests of adapters."""

from tests.adapters.mongo_fixture import mongo_settings, mongo_store, mongo_uri
from tests.adapters.store_fixture import database, store

__all__ = ["database", "mongo_settings", "mongo_store", "mongo_uri", "store"]
