"""Episodes as files: written and read, made from traces and from live runs, played in the twin, executed again."""
