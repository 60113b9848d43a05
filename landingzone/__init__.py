"""The base that the parts of the landing zone stand on: settings, accounts, sources, feeds, the zone, the database."""

__version__ = "0.1.0"
