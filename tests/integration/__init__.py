"""Tests of several processes' worth of Fairlead at once."""
