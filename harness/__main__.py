"""`python -m harness`: the same command as `salprobe`."""

from harness.main import main

if __name__ == "__main__":
    main()
