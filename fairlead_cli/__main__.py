"""`python -m fairlead_cli`: the command `fairlead` where it is not on the path."""

from fairlead_cli.main import run

if __name__ == "__main__":
    run()
