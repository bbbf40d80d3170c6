"""The vocabulary that every process shares: messages, ports, errors. Imports pydantic and nothing above."""
