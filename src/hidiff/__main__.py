"""`python -m hidiff` is the command `hidiff`; `torchrun -m hidiff train ...` needs this form."""

from hidiff.cli import main

if __name__ == "__main__":
    main()
