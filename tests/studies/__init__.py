"""Tests of studies: episodes, replay, bounds, the scoreboard."""
