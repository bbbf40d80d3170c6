"""Tests of the testbed: definitions, demand, model servers, the load generator."""
