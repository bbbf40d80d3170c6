"""Pure decisions over values: no I/O, clock, chance, environment or logging."""
