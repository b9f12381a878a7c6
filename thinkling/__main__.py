"""`python -m thinkling` is the command `thinkling`."""

from thinkling.cli import main

if __name__ == "__main__":
    main()
