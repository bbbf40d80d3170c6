"""A process that speaks as the twin's does, and behaves as its argument says: a child for tests, light to start."""

import json
import sys
import time

READY = {"number": 0, "judgement": None, "fault": "", "twin": "odd 1", "memory_bytes": 1234}


def tell(**what: object) -> None:
    """Write a verdict: ready, but for what is given."""
    print(json.dumps({**READY, **what}), flush=True)


def main(behaviour: str) -> None:
    """Begin, and answer each question of three lines."""
    if behaviour == "silent":
        time.sleep(60.0)
    if behaviour == "babbling":
        print("good morning", flush=True)
    tell()
    judgement = {"code": "no-worse", "text": "odd"}
    while head := sys.stdin.readline():
        for _ in range(2):
            sys.stdin.readline()
        number = int(head.split()[0])
        if behaviour == "dying":
            sys.exit(3)
        if behaviour == "slow" and number == 1:
            time.sleep(1.0)
        if behaviour == "failing":
            tell(number=number, fault="ValueError: odd")
        else:
            tell(number=number, judgement={**judgement, "text": f"question {number}"})


if __name__ == "__main__":
    main(sys.argv[1])
